"""The other process of a question: `python -m benchmarks.child follow DATABASE SIDE ...`."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

ADDRESS = "EVERLOG_BENCH_ADDRESS"
"""The environment variable with the address of the log: it may hold a password, and what a process
is started with is there for everybody to see."""


@asynccontextmanager
async def started(
    work: str, database: str, side: str, address: str, *more: str
) -> AsyncGenerator[Process]:
    """Yields a process that does what a question wants done elsewhere; it is gone afterwards."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.child", work, database, side, *more),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, ADDRESS: address},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def line_of(child: Process, *, patience_s: float) -> str:
    """Returns the next line that a process prints; raises `TimeoutError`."""
    assert child.stdout is not None
    line = await asyncio.wait_for(child.stdout.readline(), patience_s)
    if not line:
        raise RuntimeError(f"the other process ended: {await child.wait()}")
    return line.decode()


def main(work: str, database: str, side: str, *more: str) -> None:
    """Does what a question wants done elsewhere."""
    # Not at the top: the questions import this module.
    from benchmarks.questions import follow, memory, processes

    address = os.environ[ADDRESS]
    if work == "follow":
        asyncio.run(follow.follow(database, side, address, int(more[0])))
    elif work == "append":
        asyncio.run(processes.append(database, side, address, int(more[0]), int(more[1]), more[2]))
    elif work in ("hub", "listen"):
        from benchmarks import hub_side

        asyncio.run(
            hub_side.be_a_hub(address) if work == "hub" else hub_side.listen(address, int(more[0]))
        )
    elif work == "project":
        asyncio.run(memory.project(database, side, address, int(more[0])))
    else:
        asyncio.run(memory.read(database, side, address))


if __name__ == "__main__":
    main(*sys.argv[1:])
