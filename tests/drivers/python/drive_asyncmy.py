"""asyncmy: asyncio, compiled."""

import asyncio

import asyncmy
import asyncmy.cursors

from asynchronous import Suite

asyncio.run(Suite(asyncmy, asyncmy.cursors.SSCursor).run())
