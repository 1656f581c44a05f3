"""The line between a process of the torture and the one that started it, as seen from below."""

from __future__ import annotations

import asyncio
import json
import os
import sys


class Voice:
    """Hears lines on standard input, and says lines of JSON on standard output."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @staticmethod
    async def open() -> Voice:
        """Takes over standard input."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        return Voice(reader)

    async def hear(self) -> bytes:
        """Returns the next line; where there will be none, nobody is left to work for, and ends."""
        line = await self._reader.readline()
        if not line:
            os._exit(1)
        return line

    def say(self, value: object) -> None:
        """Says something."""
        print(json.dumps(value), flush=True)  # noqa: T201 - it is how the processes talk
