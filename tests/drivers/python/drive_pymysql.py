"""PyMySQL: text protocol only; buffered, unbuffered and dictionary cursors."""

import pymysql
import pymysql.cursors

import dbapi
from transcript import COMPRESS, HOST, PASSWORD, PORT, SCHEMA, TLS_CA, USER, step


class Suite(dbapi.Suite):
    def connect(self, user=USER, password=PASSWORD, schema=SCHEMA, multi=False, local_infile=None):
        if COMPRESS:
            raise NotImplementedError("PyMySQL has no compression")
        return pymysql.connect(
            host=HOST, port=PORT, user=user, password=password.encode(), database=schema, charset="utf8mb4",
            autocommit=True, max_allowed_packet=64 << 20, local_infile=bool(local_infile), ssl_ca=TLS_CA,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS if multi else 0)

    def cursors(self):
        return {
            "text": self.connection.cursor,
            "unbuffered": lambda: self.connection.cursor(pymysql.cursors.SSCursor),
        }

    def extra(self):
        def dictionary():
            cursor = self.connection.cursor(pymysql.cursors.DictCursor)
            cursor.execute("SELECT n, name FROM many WHERE n < %(limit)s ORDER BY n", {"limit": 3})
            return cursor.fetchall()

        def change_schema():
            self.connection.select_db("information_schema")
            before = self.query("SELECT DATABASE()")
            self.connection.select_db(SCHEMA)
            return before, self.query("SELECT DATABASE()")

        step("dictionary", dictionary)
        step("ping", self.connection.ping)
        step("change schema", change_schema)
        step("schema that is not there", lambda: self.connection.select_db("nowhere"))
        step("show warnings", lambda: (self.query("SELECT 1 / 0"), self.connection.show_warnings()))
        step("half-read unbuffered", self.half_read)
        step("reconnect by ping", self.ping_again)

    def half_read(self):
        cursor = self.connection.cursor(pymysql.cursors.SSCursor)
        cursor.execute("SELECT n, name FROM many ORDER BY n")
        first = cursor.fetchmany(3)
        cursor.close()
        return first, self.query("SELECT 1")

    def ping_again(self):
        connection = self.connect()
        connection.close()
        connection.ping(reconnect=True)
        return self.query_on(connection, "SELECT DATABASE()")


Suite().run()
