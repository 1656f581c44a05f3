"""What is left of group commit when the writers are in several processes?

They meet at the database's lock only, so a process has 16 tasks to commit together, and not 64.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from benchmarks import workload
from benchmarks.child import line_of, started
from benchmarks.databases import POSTGRES
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import Seen
from benchmarks.sides import EVERLOG, FLOOR, OURS, PEERS, make

PROCESSES, TASKS = 4, 16
PATIENCE_S = 60

ROW = Row(
    name=f"append 1, {PROCESSES} processes x {TASKS} tasks",
    unit="µs/event",
    target=Target(floor_ratio=0.6),
    only=POSTGRES,
    note="From the moment that all processes may begin until the last has ended, for all events "
    "together. Blocking peers are asked with as many threads, and for fewer events.",
)


async def ask(asked: Asked) -> Figures:
    """Lets the tasks of all processes append one by one, to a stream each."""
    each = asked.size.of(40 if asked.name in OURS else 6, least=2)
    processes = asked.size.of(PROCESSES, least=2)
    address = asked.new("log")
    side = asked.make()
    await side.open(address)
    try:
        await side.append("warm", (0,))
        async with AsyncExitStack() as stack:
            children = [
                await stack.enter_async_context(
                    started(
                        *("append", asked.database, asked.name, address),
                        *(str(TASKS), str(each), f"process-{number}"),
                    )
                )
                for number in range(processes)
            ]
            for child in children:
                check(await line_of(child, patience_s=PATIENCE_S), "ready\n")
            with Watch() as watch:
                for child in children:
                    assert child.stdin is not None
                    child.stdin.write(b"go\n")
                for child in children:
                    check(await line_of(child, patience_s=PATIENCE_S), "done\n")
            for child in children:
                check(await asyncio.wait_for(child.wait(), PATIENCE_S), 0)
        due = Seen(each, sum(workload.COUNT + index for index in range(each)))
        for number in (0, processes - 1):
            check(await side.read_stream(f"process-{number}-{TASKS - 1}"), due)
        # Each process has warmed up with an append of its own.
        count = processes * TASKS * each
        check((await side.read_all()).events, count + processes + 1)
    finally:
        await side.close()
    return {ROW.name: watch.seconds / count * 1e6}


async def append(
    database: str, name: str, address: str, tasks: int, each: int, streams: str
) -> None:
    """One of the processes: appends once it is told to, and says when it is done."""
    side = make(database, name)
    await side.open(address)
    try:
        await side.append(f"warm-{streams}", (0,))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await side.append_together(tasks, each, streams)
        print("done", flush=True)
    finally:
        await side.close()


QUESTION = Question(
    name="processes",
    about=f"append 1 event, {PROCESSES} processes of {TASKS} tasks at the same time",
    rows=(ROW,),
    ask=ask,
    sides=(FLOOR, EVERLOG, *PEERS),
)
