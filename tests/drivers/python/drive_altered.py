"""A few steps, to prove that the comparison sees a single byte (tests/conformance/altered.rs)."""

import pymysql

from transcript import HOST, PASSWORD, PORT, SCHEMA, USER, step

# Without TLS, which it takes where a server has it: the proxy between must see the bytes.
connection = pymysql.connect(
    host=HOST, port=PORT, user=USER, password=PASSWORD.encode(), database=SCHEMA, ssl_disabled=True)
cursor = connection.cursor()
for number in [7, 77, 777]:
    cursor.execute(f"SELECT name FROM many WHERE n = {number}")
    step(f"number {number}", cursor.fetchall)
