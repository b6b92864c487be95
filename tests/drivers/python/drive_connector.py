"""mysql-connector-python in pure Python: text and prepared. (Its C extension wants OpenSSL 3.2.)"""

import mysql.connector

import dbapi
from transcript import COMPRESS, HOST, IS_TIDB, PASSWORD, PORT, SCHEMA, TLS_CA, USER, step


class Suite(dbapi.Suite):
    def connect(self, user=USER, password=PASSWORD, schema=SCHEMA, multi=False, local_infile=None,
                compress=bool(COMPRESS)):
        options = {"ssl_ca": TLS_CA, "ssl_verify_cert": True} if TLS_CA else {"ssl_disabled": True}
        if schema:
            options["database"] = schema
        if local_infile:
            options |= {"allow_local_infile": True}
        flags = [(1 if multi else -1) * mysql.connector.constants.ClientFlag.MULTI_STATEMENTS]
        return mysql.connector.connect(
            host=HOST, port=PORT, client_flags=flags, user=user, password=password, charset="utf8mb4", collation="utf8mb4_general_ci",
            autocommit=True, use_pure=True, compress=compress, consume_results=True, **options)

    def connection_id(self, connection):
        return connection.connection_id

    def set_autocommit(self, connection, on):
        connection.autocommit = on

    def cursors(self):
        return {
            "text": self.connection.cursor,
            "buffered": lambda: self.connection.cursor(buffered=True),
            "raw": lambda: self.connection.cursor(raw=True),
            "prepared": lambda: self.connection.cursor(prepared=True),
        }

    def extra(self):
        def dictionary():
            cursor = self.connection.cursor(dictionary=True)
            cursor.execute("SELECT n, name FROM many WHERE n < %(limit)s ORDER BY n", {"limit": 3})
            return cursor.fetchall()

        def executed_again():
            values = [1, "two", 3.5, None, b"\x00\xff", 2**63 - 1, -(2**63)]
            results = []
            # TiDB takes the first type for all, until somebody's DDL makes it plan anew.
            for group in [[value, value] for value in values] if IS_TIDB else [values]:
                cursor = self.connection.cursor(prepared=True)
                for value in group:
                    cursor.execute("SELECT %s", (value,))
                    results.append(cursor.fetchall())
                cursor.close()
            return results

        def change_user():
            # The driver refuses it on a compressed connection.
            connection = self.connect(compress=False)
            connection.cmd_change_user(USER, PASSWORD, SCHEMA)
            return self.query_on(connection, "SELECT CURRENT_USER(), DATABASE()")

        def reset():
            connection = self.connect()
            self.query_on(connection, "SET @a = 1", close=False)
            connection.cmd_reset_connection()
            return self.query_on(connection, "SELECT @a")

        def pool():
            pool = mysql.connector.pooling.MySQLConnectionPool(
                pool_size=2, pool_name="pool", host=HOST, port=PORT, user=USER, password=PASSWORD, database=SCHEMA,
                use_pure=True, **({"ssl_ca": TLS_CA} if TLS_CA else {"ssl_disabled": True}))
            results = []
            for number in range(6):
                connection = pool.get_connection()
                cursor = connection.cursor()
                cursor.execute("SELECT @a")
                results.append(cursor.fetchall())
                cursor.execute(f"SET @a = {number}")
                cursor.close()
                connection.close()
            return results

        step("dictionary", dictionary)
        step("prepared: executed again", executed_again)
        step("ping", lambda: self.connection.ping())
        step("change user", change_user)
        step("reset", reset)
        step("pool", pool)
        step("statistics", lambda: sorted(self.connection.cmd_statistics())[:1])
        step("warnings", self.warned)

    def warned(self):
        connection = self.connect()
        connection.get_warnings = True
        cursor = connection.cursor()
        cursor.execute("SELECT 1 / 0")
        rows = cursor.fetchall()
        warnings = cursor.warnings
        connection.close()
        return rows, warnings


Suite().run()
