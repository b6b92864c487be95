"""The steps for drivers that follow Python's DB-API (PEP 249). A program gives its driver and what that can do."""

import os
import tempfile
import time

from transcript import FRAME_MAX, FULL, IS_TIDB, RECEIVED, SENT, SMALL, Lost, blob, digest, step


class Suite:
    """A driver behind the steps; what is driver-specific is overridden."""

    connection = None

    # ------------------------------------------------------------------------------------------ what a program gives

    def connect(self, **options):
        """A connection; without options to SCHEMA as USER, in autocommit mode."""
        raise NotImplementedError

    def connection_id(self, connection):
        return connection.thread_id()

    def set_autocommit(self, connection, on):
        connection.autocommit(on)

    # Kinds of cursors: name and a function that opens one.
    def cursors(self):
        return {"text": lambda: self.connection.cursor()}

    def warnings(self, cursor):
        cursor.execute("SHOW WARNINGS")
        return cursor.fetchall()

    def multi(self, statement):
        """All results of several statements in one packet, on a connection that allows them."""
        connection = self.connect(multi=True)
        cursor = connection.cursor()
        results = []
        try:
            cursor.execute(statement)
            while True:
                results.append(self.result(cursor))
                if not cursor.nextset():
                    return results
        finally:
            results.append("end")
            connection.close()

    def extra(self):
        """More steps that only this driver has."""

    # ------------------------------------------------------------------------------------------ the steps

    def run(self):
        self.connection = step_value("connect", self.connect)
        self.logins()
        first = next(iter(self.cursors()))
        for kind, cursor in self.cursors().items():
            self.asked(kind, cursor)
            self.columns(kind, cursor)
            self.write_back(kind, cursor)
            self.refused(kind, cursor)
            self.big(kind, cursor, *((SENT, RECEIVED) if FULL or kind == first else (SMALL, SMALL)))
            self.execute_many(kind, cursor)
        self.time_zones()
        self.transactions()
        self.savepoints()
        self.errors_in_a_transaction()
        self.several_statements()
        self.local_infile()
        if not IS_TIDB:
            self.procedures()
        self.extra()
        self.several_connections()
        self.reconnect()
        self.connection.close()
        step("closed", lambda: self.query("SELECT 1"))

    def logins(self):
        step("hello", lambda: self.query(
            "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@character_set_client,"
            " @@collation_connection, @@time_zone, @@sql_mode"))
        step("wrong password", lambda: self.connect(password="wrong"))
        step("no password", lambda: self.connect(password=""))
        step("unknown user", lambda: self.connect(user="nobody"))
        step("unknown schema", lambda: self.connect(schema="nowhere"))
        step("no schema", lambda: self.query_on(self.connect(schema=None), "SELECT DATABASE()"))

    def asked(self, kind, open_cursor):
        self.query("DELETE FROM item")
        self.query("ALTER TABLE item AUTO_INCREMENT = 1")
        for name, statement in self.query("SELECT name, statement FROM asked ORDER BY id")["rows"]:
            def ask():
                cursor = open_cursor()
                cursor.execute(statement)
                result = self.result(cursor)
                cursor.close()
                return result
            step(f"{kind}: asked {name}", ask)

    def columns(self, kind, open_cursor):
        for column in self.column_names():
            def read():
                cursor = open_cursor()
                cursor.execute(f"SELECT id, {column} FROM extremes ORDER BY id")
                result = self.result(cursor)
                cursor.close()
                return result
            step(f"{kind}: read {column}", read)

    def column_names(self):
        return [row[0] for row in self.query("SHOW COLUMNS FROM extremes")["rows"][1:]]

    def write_back(self, kind, open_cursor):
        """Each value goes back as a parameter, in the encoding that the driver has for it."""
        for column in self.column_names():
            def write():
                cursor = open_cursor()
                cursor.execute(f"SELECT id, {column} FROM extremes ORDER BY id")
                rows = cursor.fetchall()
                cursor.close()
                self.connection.begin() if hasattr(self.connection, "begin") else self.query("BEGIN")
                counts = []
                cursor = open_cursor()
                for row in rows:
                    try:
                        cursor.execute(f"INSERT INTO copy (id, {column}) VALUES (%s, %s)", tuple(row))
                        counts.append(cursor.rowcount)
                    except Exception as error:
                        counts.append([type(error).__name__, *map(str, error.args)])
                cursor.close()
                equal = self.query(
                    f"SELECT c.id, c.{column} <=> e.{column} FROM copy c JOIN extremes e USING (id) ORDER BY id")
                self.connection.rollback()
                return counts, equal["rows"]
            step(f"{kind}: write {column}", write)

    def refused(self, kind, open_cursor):
        for name, statement in self.query("SELECT name, statement FROM refused ORDER BY id")["rows"]:
            def ask():
                cursor = open_cursor()
                cursor.execute(statement)
                return self.result(cursor)
            step(f"{kind}: refused {name}", ask)

    def big(self, kind, open_cursor, sent, received):
        def fetch(statement, values):
            cursor = open_cursor()
            cursor.execute(statement, values)
            rows = cursor.fetchall()
            cursor.close()
            return rows[0]

        def receive(size):
            data, said = fetch("SELECT REPEAT('x', %s), %s", (size, size))
            data = data if isinstance(data, (bytes, bytearray)) else data.encode()
            return len(data), digest(data), said

        def store(size):
            cursor = open_cursor()
            cursor.execute("REPLACE INTO big VALUES (%s, %s)", (1, blob(size)))
            cursor.close()
            (value,) = fetch("SELECT v FROM big WHERE id = %s", (1,))
            return len(value), bytes(value) == blob(size)

        for size in sent:
            step(f"{kind}: send {size} bytes", lambda: fetch("SELECT LENGTH(%s), %s", (blob(size), size)))
        for size in received:
            step(f"{kind}: receive {size} bytes", lambda: receive(size))
        for size in [0, 65536, (5 if FULL else 1) << 20]:
            step(f"{kind}: store {size} bytes", lambda: store(size))
        for payload in [FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 1] if FULL else []:
            # With the byte of the command.
            text = "SELECT LENGTH('{}')"
            text = text.format("x" * (payload - 1 - len(text.format(""))))
            step(f"{kind}: a statement of {payload} bytes", lambda: fetch(text, None))

    def execute_many(self, kind, open_cursor):
        def many():
            cursor = open_cursor()
            cursor.executemany(
                "INSERT INTO item (name, n) VALUES (%s, %s)", [(f"{kind} 😀 {n}", n) for n in range(300)])
            count = cursor.rowcount
            cursor.close()
            return count, self.query("SELECT COUNT(*), SUM(n), MIN(name) FROM item")
        step(f"{kind}: many rows", many)
        self.query("DELETE FROM item")

    def time_zones(self):
        for zone in ["+00:00", "+09:00", "-12:00", "+13:45"]:
            def read():
                self.query(f"SET time_zone = '{zone}'")
                return self.query(
                    "SELECT @@time_zone, c_timestamp, c_timestamp_fraction, UNIX_TIMESTAMP(c_timestamp),"
                    " FROM_UNIXTIME(0) FROM extremes ORDER BY id")
            step(f"time zone {zone}", read)
        self.query("SET time_zone = '+00:00'")

    def transactions(self):
        def insert(name):
            return self.query(f"INSERT INTO item (name) VALUES ('{name}')")

        def items():
            return self.query("SELECT name, n FROM item ORDER BY name")["rows"]

        self.set_autocommit(self.connection, False)
        step("transaction: insert", lambda: insert("kept"))
        step("transaction: seen inside", items)
        step("transaction: not seen outside", lambda: self.query_on(self.connect(), "SELECT * FROM item"))
        step("transaction: commit", self.connection.commit)
        step("transaction: insert again", lambda: insert("lost"))
        step("transaction: rollback", self.connection.rollback)
        step("transaction: what is there", items)
        step("transaction: commit of nothing", self.connection.commit)
        step("transaction: rollback of nothing", self.connection.rollback)
        self.set_autocommit(self.connection, True)
        for begin in ["BEGIN", "START TRANSACTION READ ONLY", "START TRANSACTION WITH CONSISTENT SNAPSHOT"]:
            step(f"transaction: {begin}", lambda: self.query(begin))
            step(f"transaction: {begin}, write", lambda: insert(begin))
            step(f"transaction: {begin}, items", items)
            step(f"transaction: {begin}, end", lambda: self.query("COMMIT"))
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]:
            step(f"isolation {level}", lambda: self.query(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}"))
            step(f"isolation {level}, read", lambda: self.query("SELECT @@transaction_isolation")
                 if IS_TIDB else self.query("SELECT @@tx_isolation"))
        step("isolation back", lambda: self.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        step("implicit commit", lambda: [
            self.query(statement) for statement in
            ["BEGIN", "INSERT INTO item (name) VALUES ('before')", "CREATE TABLE other (id INT)", "ROLLBACK",
             "SELECT name FROM item ORDER BY name", "DROP TABLE other"]])
        self.query("DELETE FROM item")

    def savepoints(self):
        statements = [
            "BEGIN", "INSERT INTO item (name) VALUES ('a')", "SAVEPOINT one", "INSERT INTO item (name) VALUES ('b')",
            "SAVEPOINT two", "INSERT INTO item (name) VALUES ('c')", "ROLLBACK TO SAVEPOINT two",
            "SELECT name FROM item ORDER BY name", "RELEASE SAVEPOINT two", "ROLLBACK TO one",
            "SELECT name FROM item ORDER BY name", "COMMIT", "SELECT name FROM item ORDER BY name", "DELETE FROM item"]
        for number, statement in enumerate(statements):
            step(f"savepoint {number}: {statement}", lambda: self.query(statement))

    def errors_in_a_transaction(self):
        statements = [
            "BEGIN", "INSERT INTO item (name) VALUES ('a')", "INSERT INTO item (name) VALUES ('a')",
            "SELECT nothing", "INSERT INTO item (name) VALUES ('b')", "COMMIT", "SELECT name FROM item ORDER BY name",
            "DELETE FROM item"]
        for number, statement in enumerate(statements):
            step(f"error in a transaction {number}: {statement}", lambda: self.query(statement))

    def several_statements(self):
        step("multi: selects", lambda: self.multi("SELECT 1; SELECT n, name FROM many WHERE n < 3 ORDER BY n"))
        step("multi: mixed", lambda: self.multi(
            "INSERT INTO item (name) VALUES ('m'); SELECT name FROM item; DELETE FROM item; SELECT 4"))
        step("multi: error in the middle", lambda: self.multi("SELECT 1; SELEC 2; SELECT 3"))
        step("multi: a transaction", lambda: self.multi(
            "BEGIN; INSERT INTO item (name) VALUES ('t'); COMMIT; SELECT name FROM item"))
        step("multi: a transaction that fails", lambda: self.multi(
            "BEGIN; INSERT INTO item (name) VALUES ('u'); INSERT INTO item (name) VALUES ('u'); COMMIT"))
        step("multi: what is there", lambda: self.query("SELECT name FROM item ORDER BY name"))
        self.query("DELETE FROM item")

    def local_infile(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows")
            with open(path, "w", encoding="utf8") as file:
                file.writelines(f"{n}\tname 😀 {n}\t{n}\n" for n in range(1, 5001))
            load = f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)"

            def allowed():
                connection = self.connect(local_infile=folder)
                result = self.query_on(connection, load)
                return result, self.query("SELECT COUNT(*), SUM(n), MIN(name) FROM item")

            def empty():
                open(path, "w", encoding="utf8").close()
                return self.query_on(self.connect(local_infile=folder), load)

            def missing():
                try:
                    return self.query_on(self.connect(local_infile=folder), load.replace("rows", "nothing"))
                except Exception as error:
                    error.args = tuple(str(argument).replace(folder, "FOLDER") for argument in error.args)
                    raise
            step("local infile", allowed)
            step("local infile, empty", empty)
            step("local infile, no such file", missing)
            step("local infile, not allowed", lambda: self.query(load))
            step("local infile, after that", lambda: self.query("SELECT 1"))
        self.query("DELETE FROM item")

    def procedures(self):
        def call():
            cursor = self.connection.cursor()
            cursor.execute("CALL results(3, @doubled)")
            results = [self.result(cursor)]
            while cursor.nextset():
                results.append(self.result(cursor))
            return results
        step("call", call)
        step("call, out", lambda: self.query("SELECT @doubled"))

        def callproc():
            cursor = self.connection.cursor()
            returned = cursor.callproc("results", (3, 0))
            results = [returned]
            if hasattr(cursor, "stored_results"):
                return results + [result.fetchall() for result in cursor.stored_results()]
            while True:
                results.append(self.result(cursor))
                if not cursor.nextset():
                    return results
        step("callproc", callproc)

    def several_connections(self):
        def open_many():
            connections = [self.connect() for _ in range(5)]
            ids = {self.connection_id(connection) for connection in connections}
            answers = [self.query_on(connection, f"SELECT {n}") for n, connection in enumerate(connections)]
            return len(ids), answers
        step("many connections", open_many)
        step("id", lambda: self.query("SELECT CONNECTION_ID()")["rows"][0][0] == self.connection_id(self.connection))

    def reconnect(self):
        def lose():
            victim = self.connect()
            self.query(f"KILL {self.connection_id(victim)}")
            wait_until_lost(lambda: self.query_on(victim, "SELECT 1", close=False))
        step("killed", lose)
        step("after a kill", lambda: self.query_on(self.connect(), "SELECT 1"))

    # ------------------------------------------------------------------------------------------ helpers

    def result(self, cursor):
        description = cursor.description
        rows = cursor.fetchall() if description else None
        return {
            "columns": [list(column) for column in description] if description else None,
            "rows": rows,
            "count": cursor.rowcount,
            "id": cursor.lastrowid,
        }

    def query(self, statement):
        return self.query_on(self.connection, statement, close=False)

    def query_on(self, connection, statement, close=True):
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(statement)
                return self.result(cursor)
            finally:
                cursor.close()
        finally:
            if close:
                connection.close()


def step_value(name, action):
    """A step whose value says nothing by itself."""
    kept = []
    step(name, lambda: kept.append(action()))
    return kept[0]


def wait_until_lost(ask):
    """The server closes the connection soon, not at once."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            ask()
        except Exception as error:
            raise Lost from error
        time.sleep(0.01)
    raise AssertionError("the connection is still there")
