"""How long does it take to fold a stream of 1,000 events, without and with a snapshot?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import CannotDo, Side

TARGET = Target(floor_ratio=0.6, peer_ratio=2)
PLAIN = Row(name="fold 1,000", unit="ms", target=TARGET)
SNAPSHOT = Row(name="fold 1,000 with a snapshot at 990", unit="ms", target=TARGET)


async def ask(asked: Asked) -> Figures:
    """Folds the same streams several times."""
    side = asked.make()
    await side.open(await asked.log())
    try:
        figures = {PLAIN.name: await _measure(side, workload.STREAM_OF_1000, asked.size.of(10))}
        try:
            times = asked.size.of(200)
            figures[SNAPSHOT.name] = await _measure(side, workload.SNAPSHOTTED, times)
        except CannotDo:
            pass
    finally:
        await side.close()
    return figures


async def _measure(side: Side, stream: str, times: int) -> float:
    await side.fold(stream)
    folded = 0
    with Watch() as watch:
        for _ in range(times):
            folded = await side.fold(stream)
    check(folded, workload.TOTAL)
    return watch.seconds / times * 1e3


QUESTION = Question(
    name="fold",
    about="fold 1,000 events; the same with a snapshot",
    rows=(PLAIN, SNAPSHOT),
    ask=ask,
)
