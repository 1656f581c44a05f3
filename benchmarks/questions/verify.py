"""How long does it take to compute all hashes and the chain again, and to copy an open log?"""

from __future__ import annotations

from contextlib import suppress

from benchmarks.databases import SQLITE
from benchmarks.logs import records_in_log
from benchmarks.question import Asked, Figures, Question, Row, Watch, check
from benchmarks.side import CannotDo

VERIFY = Row(name="verify", unit="µs/event")
BACKUP = Row(name="backup", unit="µs/event", only=SQLITE)


async def ask(asked: Asked) -> Figures:
    """Verifies the whole log; then copies it, if it is a file, and looks at the copy."""
    count = records_in_log(asked.size)
    figures: dict[str, float] = {}
    side = asked.make()
    await side.open(await asked.log())
    try:
        with suppress(CannotDo):
            with Watch() as watch:
                verified = await side.verify()
            check(verified, count)
            figures[VERIFY.name] = watch.seconds / count * 1e6
        if asked.database == SQLITE:
            copy = asked.new("copy")
            with Watch() as watch:
                await side.backup(copy)
            figures[BACKUP.name] = watch.seconds / count * 1e6
            await _look_at(copy, asked, count)
    finally:
        await side.close()
    return figures


async def _look_at(copy: str, asked: Asked, count: int) -> None:
    copied = asked.make()
    await copied.open(copy)
    try:
        check((await copied.read_all()).events, count)
    finally:
        await copied.close()


QUESTION = Question(
    name="verify", about="verify a whole log; back it up", rows=(VERIFY, BACKUP), ask=ask
)
