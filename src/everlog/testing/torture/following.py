"""A process that reads on and on while others write, and writes down what it sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

from everlog.core.record import StoredRecord
from everlog.errors import CorruptLedger, StorageError
from everlog.testing.torture.events import part_of
from everlog.testing.torture.journal import Journal
from everlog.testing.torture.mischief import may_fail
from everlog.testing.torture.performing import PATIENCE_S, opened
from everlog.testing.torture.plan import Role
from everlog.testing.torture.voice import Voice

POLL_S = 0.005
"""Between two looks, where there was nothing new."""
REST_S = 0.03
"""At most, between the readings of every other reader: it is slower, and so sees longer pages."""


async def follow(role: Role, voice: Voice) -> None:
    """Reads what comes after a position, from there what comes next, until all writers are done."""
    journal, rng = Journal(role.file("journal")), role.rng
    async with await opened(role.plan, journal) as store:
        position = role.plan.start
        voice.say("ready")
        await voice.hear()
        ending = asyncio.create_task(voice.hear())
        unfinished: Counter[str] = Counter()
        trusted = monotonic()
        with role.file("seen").open("w", encoding="utf-8") as seen:
            while True:
                last = ending.done()  # what is read from now on is all there will be
                before = position
                try:
                    async for record in store.read(after=position):
                        seen.write(line_of(record.stored))
                        position = record.position
                        _note_part(unfinished, record.id)
                except StorageError as error:
                    journal.counted(f"{type(error).__name__} of a reader")
                    if not may_fail(role.plan.mischief) or isinstance(error, CorruptLedger):
                        journal.problem(f"a reading ended with {type(error).__name__}: {error}")
                        break
                    if monotonic() - trusted > PATIENCE_S:
                        journal.problem(f"a reader got nothing for {PATIENCE_S} s but {error}")
                        break
                    await asyncio.sleep(POLL_S)
                    continue
                trusted = monotonic()
                if unfinished:
                    # Each reading is a prefix of the log as of one moment, and calls are whole.
                    journal.problem(f"a reader saw only a part of call {next(iter(unfinished))}")
                    unfinished.clear()
                if position > before:
                    journal.counted("readings that found something")
                    if role.number % 2:
                        await asyncio.sleep(rng.uniform(0, REST_S))
                elif last:
                    break
                else:
                    await asyncio.wait([ending], timeout=POLL_S)
    journal.close()
    voice.say("done")


def line_of(record: StoredRecord) -> str:
    """Returns what identifies a record and its place, as a line."""
    place = f"{record.position}\t{record.version}\t{record.stream}"
    return f"{record.id}\t{place}\t{record.chain.hex()}\n"


def _note_part(unfinished: Counter[str], id: str) -> None:
    part = part_of(id)
    if part is None or part.of == 1:
        return
    unfinished[part.call] += 1
    if unfinished[part.call] == part.of:
        del unfinished[part.call]
