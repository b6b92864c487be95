"""mysqlclient, which is libmariadb for Python: stored and streamed results."""

import MySQLdb
import MySQLdb.cursors

import dbapi
from transcript import COMPRESS, HOST, PASSWORD, PORT, SCHEMA, TLS_CA, USER, step


class Suite(dbapi.Suite):
    def connect(self, user=USER, password=PASSWORD, schema=SCHEMA, multi=False, local_infile=None):
        options = {"database": schema} if schema else {}
        if TLS_CA:
            options |= {"ssl": {"ca": TLS_CA}}
        if COMPRESS:
            # Any value turns it on.
            options |= {"compress": True}
        # libmysqlclient's own default is 1 GiB, and an option of the statement's size is not offered.
        return MySQLdb.connect(
            host=HOST, port=PORT, user=user, password=password, charset="utf8mb4", autocommit=True,
            local_infile=int(bool(local_infile)), multi_statements=multi, **options)

    def cursors(self):
        return {
            "text": self.connection.cursor,
            "streamed": lambda: self.connection.cursor(MySQLdb.cursors.SSCursor),
        }

    def extra(self):
        def dictionary():
            cursor = self.connection.cursor(MySQLdb.cursors.DictCursor)
            cursor.execute("SELECT n, name FROM many WHERE n < %(limit)s ORDER BY n", {"limit": 3})
            return cursor.fetchall()

        def change_user():
            connection = self.connect()
            connection.change_user(USER, PASSWORD, SCHEMA)
            return self.query_on(connection, "SELECT CURRENT_USER(), DATABASE()")

        def set_option():
            connection = self.connect()
            connection.set_server_option(MySQLdb.constants.CLIENT.MULTI_STATEMENTS and 0)
            cursor = connection.cursor()
            cursor.execute("SELECT 1; SELECT 2")
            results = [cursor.fetchall()]
            while cursor.nextset():
                results.append(cursor.fetchall())
            return results

        step("dictionary", dictionary)
        step("ping", self.connection.ping)
        step("change user", change_user)
        step("several statements by COM_SET_OPTION", set_option)
        step("schema that is not there", lambda: self.connection.select_db("nowhere"))
        step("warning count", lambda: (self.query("SELECT 1 / 0"), self.connection.warning_count()))
        step("info", lambda: (self.query("UPDATE item SET n = 1"), self.connection.info()))
        step("statistics", lambda: self.connection.stat().split(":")[0])
        step("discard", self.discard)

    def discard(self):
        cursor = self.connection.cursor(MySQLdb.cursors.SSCursor)
        cursor.execute("SELECT n, name FROM many ORDER BY n")
        first = cursor.fetchmany(3)
        cursor.close()
        return first, self.query("SELECT 1")


Suite().run()
