"""aiomysql: asyncio over PyMySQL's protocol."""

import asyncio

import aiomysql

from asynchronous import Suite

asyncio.run(Suite(aiomysql, aiomysql.SSCursor).run())
