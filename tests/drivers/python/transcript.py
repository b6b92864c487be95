"""What every program prints: a line of JSON for each step (see tests/conformance/main.rs)."""

import hashlib
import json
import os
import sys
import time
import traceback

HOST = os.environ["DRIVER_HOST"]
PORT = int(os.environ["DRIVER_PORT"])
USER = os.environ["DRIVER_USER"]
PASSWORD = os.environ["DRIVER_PASSWORD"]
SCHEMA = os.environ["DRIVER_SCHEMA"]
IS_TIDB = os.environ["DRIVER_SERVER"] == "tidb"
TLS_CA = os.environ.get("DRIVER_TLS_CA")
COMPRESS = os.environ.get("DRIVER_COMPRESS")

# Longer values are shown by their digest.
SHOWN = 300


class Lost(Exception):
    """The connection was lost, as it should be; how a driver says so depends on the moment."""


def step(name, action, errors=Exception):
    """Runs the action and prints what it gives, or how it fails. Returns what it gives."""
    try:
        value = action()
    except errors as error:
        say(name, error=describe_error(error))
        return None
    say(name, result=describe(value))
    return value


async def async_step(name, action):
    """The same for a coroutine function."""
    try:
        value = await action()
    except Exception as error:
        say(name, error=describe_error(error))
        return None
    say(name, result=describe(value))
    return value


def say(name, **rest):
    if os.environ.get("DRIVER_TRACE"):
        print(f"{time.process_time():.3f} {time.monotonic():.3f} {name}", file=sys.stderr)
    print(json.dumps({"step": name, **rest}, ensure_ascii=False), flush=True)


def describe(value):
    """A value with its type, so that 1, 1.0, "1" and True differ."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [describe(item) for item in value]
        if len(items) > 300:
            return f"{len(items)} items {digest(json.dumps(items).encode())}"
        return items
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted(describe(item) for item in value)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{type(value).__name__} {short(bytes(value).hex())}"
    if isinstance(value, str):
        return f"str {short(value)}"
    return f"{type(value).__name__} {value!r}"


def describe_error(error):
    """Class, arguments (code and text), SQLSTATE."""
    if os.environ.get("DRIVER_TRACE"):
        traceback.print_exception(error, file=sys.stderr)
    described = {"class": type(error).__name__}
    if not isinstance(error, Lost):
        described["arguments"] = [mask(str(argument)) for argument in error.args]
        described["sqlstate"] = getattr(error, "sqlstate", None)
    return described


def mask(text):
    """Without the address, which is another one through txguard."""
    return short(text.replace(str(PORT), "PORT"))


def short(text):
    if len(text) <= SHOWN:
        return text
    return f"{text[:20]}… {len(text)} {digest(text.encode())}"


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def blob(size):
    """Bytes of every value, the same each time."""
    unit = bytes(range(256)) + b"\x00\xff\xfe\xfb\xfa\x01"
    return (unit * (size // len(unit) + 1))[:size]


# At and around the places where the protocol counts otherwise: length prefixes, the frame's end.
SMALL = [0, 1, 250, 251, 252, 65535, 65536]
BIG = 17 << 20
# The payload of a frame is full with this many bytes.
FRAME_MAX = (1 << 24) - 1
FULL = bool(os.environ.get("TXGUARD_TEST_FULL"))
# TiDB takes seconds to parse a statement of 16 MiB.
SENT = SMALL + ([1 << 20, FRAME_MAX - 20, FRAME_MAX, FRAME_MAX + 1, BIG] if FULL else [] if IS_TIDB else [BIG])
RECEIVED = SMALL + [BIG]
