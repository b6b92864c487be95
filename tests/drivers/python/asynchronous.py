"""The steps for asyncio drivers that follow PyMySQL: aiomysql and asyncmy."""

import asyncio
import time

from transcript import (COMPRESS, HOST, IS_TIDB, PASSWORD, PORT, RECEIVED, SCHEMA, SENT, TLS_CA, USER, Lost,
                        async_step, digest)


class Suite:
    """A driver (its module, with `connect` and `create_pool`) behind the steps."""

    def __init__(self, module, streaming_cursor):
        self.module = module
        self.streaming_cursor = streaming_cursor
        self.connection = None

    def options(self, **options):
        options = {"user": USER, "password": PASSWORD.encode().decode("latin1"), "db": SCHEMA, "charset": "utf8mb4",
                   "autocommit": True, "host": HOST, "port": PORT} | options
        if COMPRESS:
            raise NotImplementedError("no compression")
        if TLS_CA:
            import ssl
            options["ssl"] = ssl.create_default_context(cafile=TLS_CA)
        return options

    async def connect(self, **options):
        return await self.module.connect(**self.options(**options))

    async def run(self):
        async def open_it():
            self.connection = await self.connect()
        await async_step("connect", open_it)
        await self.logins()
        for kind, arguments in {"text": (), "streamed": (self.streaming_cursor,)}.items():
            await self.asked(kind, arguments)
            await self.columns(kind, arguments)
        await self.refused()
        await self.big()
        await self.transactions()
        await self.pool()
        await self.multi()
        await self.reconnect()

    async def logins(self):
        await async_step("hello", lambda: self.query(
            "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@character_set_client"))
        for name, options in {"wrong password": {"password": "wrong"}, "unknown user": {"user": "nobody"},
                              "unknown schema": {"db": "nowhere"}}.items():
            await async_step(name, lambda: self.connect(**options))

    async def asked(self, kind, arguments):
        await self.query("DELETE FROM item")
        await self.query("ALTER TABLE item AUTO_INCREMENT = 1")
        for name, statement in (await self.query("SELECT name, statement FROM asked ORDER BY id"))["rows"]:
            await async_step(f"{kind}: asked {name}", lambda: self.query(statement, None, arguments))

    async def columns(self, kind, arguments):
        names = [row[0] for row in (await self.query("SHOW COLUMNS FROM extremes"))["rows"][1:]]
        for column in names:
            select = f"SELECT id, {column} FROM extremes ORDER BY id"
            await async_step(f"{kind}: read {column}", lambda: self.query(select, None, arguments))

            async def write():
                rows = (await self.query(select, None, arguments))["rows"]
                await self.connection.begin()
                counts = []
                for row in rows:
                    try:
                        insert = f"INSERT INTO copy (id, {column}) VALUES (%s, %s)"
                        counts.append((await self.query(insert, tuple(row), arguments))["count"])
                    except Exception as error:
                        counts.append([type(error).__name__, *map(str, error.args)])
                equal = await self.query(
                    f"SELECT c.id, c.{column} <=> e.{column} FROM copy c JOIN extremes e USING (id) ORDER BY id")
                await self.connection.rollback()
                return counts, equal["rows"]
            await async_step(f"{kind}: write {column}", write)

    async def refused(self):
        for name, statement in (await self.query("SELECT name, statement FROM refused ORDER BY id"))["rows"]:
            await async_step(f"refused {name}", lambda: self.query(statement))

    async def big(self):
        # On connections of their own: a driver that loses count (asyncmy, with more than one frame) shall not go on.
        async def alone(statement, values):
            connection = await self.connect()
            try:
                async with connection.cursor() as cursor:
                    await cursor.execute(statement, values)
                    return (await cursor.fetchall())[0]
            finally:
                connection.close()

        async def receive(size):
            data, said = await alone("SELECT REPEAT('x', %s), %s", (size, size))
            return len(data), digest(data.encode()), said

        async def many():
            async with self.connection.cursor() as cursor:
                await cursor.executemany(
                    "INSERT INTO item (name, n) VALUES (%s, %s)", [(f"😀 {n}", n) for n in range(300)])
                return cursor.rowcount

        for size in SENT:
            await async_step(f"send {size} bytes", lambda: alone("SELECT LENGTH(%s)", ("x" * size,)))
        for size in RECEIVED:
            await async_step(f"receive {size} bytes", lambda: receive(size))
        await async_step("many rows", many)
        await async_step("many rows, there", lambda: self.query("SELECT COUNT(*), SUM(n) FROM item"))
        await self.query("DELETE FROM item")

    async def transactions(self):
        connection = self.connection
        actions = {
            "begin": connection.begin, "insert": lambda: self.query("INSERT INTO item (name) VALUES ('kept')"),
            "savepoint": lambda: self.query("SAVEPOINT one"),
            "insert more": lambda: self.query("INSERT INTO item (name) VALUES ('lost')"),
            "duplicate": lambda: self.query("INSERT INTO item (name) VALUES ('lost')"),
            "back": lambda: self.query("ROLLBACK TO one"), "commit": connection.commit,
            "there": lambda: self.query("SELECT name FROM item"), "begin again": connection.begin,
            "delete": lambda: self.query("DELETE FROM item"), "rollback": connection.rollback,
            "still there": lambda: self.query("SELECT name FROM item"),
            "no autocommit": lambda: connection.autocommit(False),
            "delete again": lambda: self.query("DELETE FROM item"), "commit again": connection.commit,
            "autocommit": lambda: connection.autocommit(True),
        }
        for name, action in actions.items():
            await async_step(f"transaction: {name}", action)

    async def pool(self):
        pool = await self.module.create_pool(minsize=1, maxsize=4, **self.options())

        async def add(number):
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await connection.begin()
                await cursor.execute("INSERT INTO item (name, n) VALUES (%s, %s)", (f"pooled {number}", number))
                await cursor.execute("SELECT SLEEP(0.01)")
                await connection.commit()
                return cursor.rowcount

        async def all_of_them():
            return await asyncio.gather(*(add(number) for number in range(40)))
        await async_step("pool: forty tasks", all_of_them)
        await async_step("pool: size", lambda: no_wait(pool.size))
        await async_step("pool: there", lambda: self.query("SELECT COUNT(*), SUM(n) FROM item"))
        pool.close()
        await pool.wait_closed()
        await self.query("DELETE FROM item")

    async def multi(self):
        from pymysql.constants import CLIENT

        async def ask(statement):
            connection = await self.connect(client_flag=CLIENT.MULTI_STATEMENTS)
            results = []
            try:
                async with connection.cursor() as cursor:
                    await cursor.execute(statement)
                    results.append(await result(cursor))
                    while await cursor.nextset():
                        results.append(await result(cursor))
            finally:
                connection.close()
            return results
        await async_step("multi: selects", lambda: ask("SELECT 1; SELECT 2; SELECT n FROM many WHERE n < 3"))
        await async_step("multi: error", lambda: ask("SELECT 1; SELEC 2; SELECT 3"))
        if not IS_TIDB:
            await async_step("multi: call", lambda: ask("CALL results(2, @doubled)"))

    async def reconnect(self):
        async def lose():
            victim = await self.connect()
            await self.query(f"KILL {victim.thread_id()}")
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    async with victim.cursor() as cursor:
                        await cursor.execute("SELECT 1")
                        await cursor.fetchall()
                except Exception as error:
                    raise Lost from error
                await asyncio.sleep(0.01)
        await async_step("killed", lose)
        await async_step("after a kill", lambda: self.query("SELECT 1"))
        self.connection.close()
        await async_step("closed", lambda: self.query("SELECT 1"))

    async def query(self, statement, values=None, arguments=()):
        async with self.connection.cursor(*arguments) as cursor:
            await cursor.execute(statement, values)
            return await result(cursor)


async def result(cursor):
    rows = await cursor.fetchall() if cursor.description else None
    columns = [list(column) for column in cursor.description] if cursor.description else None
    return {"columns": columns, "rows": rows, "count": cursor.rowcount, "id": cursor.lastrowid}


async def no_wait(value):
    return value
