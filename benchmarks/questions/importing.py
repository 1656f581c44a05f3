"""How long does `import everlog` take, in a fresh process?"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.databases import SQLITE
from benchmarks.question import Asked, Figures, Question, Row, Target
from benchmarks.side import CannotDo
from benchmarks.sides import EVERLOG, FLOOR

ROW = Row(
    name="import",
    unit="ms",
    target=Target(at_most=100),
    only=SQLITE,
    note="`import everlog`; for the others what their programs import first.",
)

MODULES = {
    FLOOR: "asyncio, concurrent.futures, hashlib, hmac, sqlite3, msgspec",
    EVERLOG: "everlog",
    "eventsourcing": "eventsourcing.application, eventsourcing.sqlite",
    "eventsource-py": "eventsource",
    "event-sourcery": "event_sourcery_sqlalchemy",
}
"""What a program of each side imports first; of everlog what the target names."""

PROGRAM = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


async def ask(asked: Asked) -> Figures:
    """Imports in a new process, whose files are in the page cache by then."""
    if asked.name not in MODULES:
        raise CannotDo
    took: list[float] = []
    for _ in range(2):  # the first writes or loads what the second finds
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM.format(MODULES[asked.name])),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        answer, complaint = await child.communicate()
        if child.returncode:
            raise RuntimeError(complaint.decode().strip().splitlines()[-1])
        took.append(float(answer))
    return {ROW.name: took[-1] * 1e3}


QUESTION = Question(name="import", about="`import everlog` in a new process", rows=(ROW,), ask=ask)
