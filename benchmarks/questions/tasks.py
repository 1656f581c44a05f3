"""How much does group commit give when many tasks append at the same time?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import CannotDo, Seen, Side
from benchmarks.sides import OURS

CURVE = (32, 64, 128, 512)
NAMED = 64
"""The row with a target; blocking peers are asked for this one alone, with as many threads."""
EVENTS = 2560
"""In all, however many tasks share them."""

NOTE = (
    "The floor commits together whatever meets, as everlog does. Blocking peers are asked with 64 "
    "threads, and for fewer events."
)

ROWS = {
    tasks: Row(
        name=f"append 1, {tasks} tasks",
        unit="µs/event",
        target=Target(floor_ratio=0.6, peer_ratio=10) if tasks == NAMED else Target(),
        note=NOTE if tasks == NAMED else "",
    )
    for tasks in CURVE
}


async def ask(asked: Asked) -> Figures:
    """Lets tasks append one by one to a stream each; a new log for each number of tasks."""
    figures: dict[str, float] = {}
    ours = asked.name in OURS
    for tasks in CURVE if ours else (NAMED,):
        # Enough to see the steady state; peers commit each event for itself, and need fewer.
        each = max(2, asked.size.of(EVENTS if ours else 320) // tasks)
        side = asked.make()
        await side.open(asked.new(f"log-{tasks}"))
        try:
            figures[ROWS[tasks].name] = await _measure(side, tasks, each)
        except CannotDo:  # so many
            pass
        finally:
            await side.close()
    return figures


async def _measure(side: Side, tasks: int, each: int) -> float:
    await side.append("warm", (0,))
    with Watch() as watch:
        await side.append_together(tasks, each)
    due = Seen(each, sum(workload.COUNT + index for index in range(each)))
    for task in (0, tasks - 1):
        check(await side.read_stream(f"task-{task}"), due)
    check((await side.read_all()).events, tasks * each + 1)
    return watch.seconds / (tasks * each) * 1e6


QUESTION = Question(
    name="tasks",
    about="append 1 event, 32 to 512 tasks at the same time",
    rows=tuple(ROWS.values()),
    ask=ask,
)
