"""Is a long log as fast as a short one, and read in as little memory?

Writes a log of many events, in streams of 1,000, and takes turns: a round writes one of few events,
reads and appends in it, then does the same in the long one. Takes about a quarter of an hour and 1
to 2 KB of disk for each event.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from benchmarks import databases, saving, workload
from benchmarks.databases import POSTGRES, SQLITE, TITLES, Database
from benchmarks.machine import ROOT, look
from benchmarks.question import Watch, check
from benchmarks.questions.memory import peak_of_reading
from benchmarks.report import introduction, shown, table
from benchmarks.side import Seen, Side
from benchmarks.sides import EVERLOG, EVERLOG_PYDANTIC, FLOOR, make
from everlog.testing.postgresql.server import VARIABLE

TARGET = 0.8
FEW, MANY = 10_000, 10_000_000
BYTES_AN_EVENT = {SQLITE: 1_100, POSTGRES: 1_600}
"""About so much does one take, with the indices and a WAL beside them."""

ROWS = {
    "append 1, one writer": "µs/event",
    "batch of 1,000": "µs/event",
    "read one stream of 1,000": "µs/event",
    "read everything, decoded": "µs/event",
    "fold 1,000": "ms",
}


@dataclass(slots=True)
class Grown:
    """What was found out about one side."""

    few: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    many: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """By row: a figure per round, in the short log and in the long one."""
    growing: list[float] = field(default_factory=list[float])
    """Microseconds an event for each tenth of the long log, while it was written in batches."""
    few_mb: float = 0
    many_mb: float = 0
    """The peak memory of a process that reads everything."""


def main(args: Sequence[str]) -> None:
    """Grows, compares, prints, and keeps what a full run found."""
    options = _parser().parse_args(args)
    few, many, rounds = options.few, options.events, options.rounds
    if options.smoke:
        few, many, rounds = 1_000, 3_000, 1
    _require_space(options.on, many)
    began = time.monotonic()
    with databases.opened(options.on) as database:
        machine = look(database.settings)
        found = asyncio.run(
            grow(
                database,
                options.sides or [EVERLOG, FLOOR],
                few=few,
                many=many,
                rounds=rounds,
                say=_say,
            )
        )
    asked = shlex.join(["python3", "dev.py", "bench", "growth", *args])
    intro = introduction(machine, asked, database=options.on)
    text = document(found, few=few, many=many, database=options.on, intro=intro)
    print(text)
    # Fewer events must not take the place of what a full run has found.
    whole = not options.sides and (few, many) == (FEW, MANY)
    kind = "growth" if options.on == SQLITE else f"growth-{options.on}"
    if options.save or whole:
        raw = {
            "machine": asdict(machine),
            "asked": asked,
            "sides": {name: asdict(one) for name, one in found.items()},
        }
        for path in saving.save(kind, machine, text=text, raw=raw, picture=None):
            _say(f"wrote {path.relative_to(ROOT)}")
    _say(f"done in {time.monotonic() - began:.0f} s")


async def grow(
    database: Database,
    sides: Sequence[str],
    *,
    few: int,
    many: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Grown]:
    """Returns what was found out about each side. `few` and `many` are multiples of 1,000."""
    found: dict[str, Grown] = {}
    for name in sides:
        found[name] = await _grow(database, name, few, many, rounds, say)
    return found


async def _grow(
    database: Database, name: str, few: int, many: int, rounds: int, say: Callable[[str], None]
) -> Grown:
    grown = Grown()
    with database.room() as new:
        long = new("long")
        say(f"{name}: writing {many:,} events")
        grown.growing = await _write(database, name, long, many)
        appended = 0
        for number in range(rounds):
            say(f"{name}: round {number + 1}")
            with database.room() as new_in_round:
                short = new_in_round("short")
                await _write(database, name, short, few)
                await _take(database, name, short, few, number, grown.few)
            count = many + appended
            appended += await _take(database, name, long, count, number, grown.many)
        say(f"{name}: memory")
        short = new("short")
        await _write(database, name, short, few)
        peak = partial(peak_of_reading, database.name, name)
        grown.few_mb, _ = await peak(short, events=few)
        grown.many_mb, _ = await peak(long, events=many + appended)
    return grown


async def _take(
    database: Database,
    name: str,
    address: str,
    count: int,
    number: int,
    figures: dict[str, list[float]],
) -> int:
    """Measures a log of so many events; returns how many more it then holds."""
    side = make(database.name, name)
    await side.open(address)
    try:
        return await _measure(side, count, number, figures)
    finally:
        await side.close()


async def _write(database: Database, name: str, address: str, count: int) -> list[float]:
    tenths: list[float] = []
    batches = count // workload.COUNT
    side = make(database.name, name)
    await side.open(address)
    try:
        began, done = time.perf_counter(), 0
        for number in range(batches):
            await side.append(workload.stream_of(number), workload.INDICES)
            if (number + 1) * 10 // batches > len(tenths) or number + 1 == batches:
                now = time.perf_counter()
                written = (number + 1 - done) * workload.COUNT
                tenths.append((now - began) / written * 1e6)
                began, done = now, number + 1
    finally:
        await side.close()
    database.settle(address)
    return tenths


async def _measure(side: Side, count: int, number: int, figures: dict[str, list[float]]) -> int:
    """Reads, then appends; returns how many events more the log then holds."""
    chance = random.Random(number)
    streams = [workload.stream_of(chance.randrange(count // workload.COUNT)) for _ in range(10)]
    lone, batch, stream, everything, fold = ROWS

    def take(row: str, watch: Watch, divided_by: float) -> None:
        figures.setdefault(row, []).append(watch.seconds / divided_by)

    whole = Seen(workload.COUNT, workload.TOTAL)
    with Watch() as watch:
        found = [await side.read_stream(one) for one in streams]
    check(all(one.events >= whole.events for one in found), True)
    take(stream, watch, sum(one.events for one in found) / 1e6)
    times = max(1, min(20, 200_000 // count))  # a short one is over too soon to be measured
    seen = 0
    with Watch() as watch:
        for _ in range(times):
            seen += (await side.read_all()).events
    check(seen, times * count)
    take(everything, watch, seen / 1e6)
    with Watch() as watch:
        sums = [await side.fold(one) for one in streams]
    check(sums, [one.total for one in found])
    take(fold, watch, len(streams) / 1e3)
    appends = min(LONE, count // 50)
    with Watch() as watch:
        for at in range(appends):
            await side.append(streams[at % len(streams)], (at,))
    take(lone, watch, appends / 1e6)
    with Watch() as watch:
        for at in range(BATCHES):
            await side.append(f"round-{number}-{at}", workload.INDICES)
    take(batch, watch, BATCHES * workload.COUNT / 1e6)
    return appends + BATCHES * workload.COUNT


LONE = 200
BATCHES = 5


def document(found: dict[str, Grown], *, few: int, many: int, database: str, intro: str) -> str:
    """Returns the table as text."""
    parts = [
        f"# A log of {many:,} events on {TITLES[database]}, beside one of {few:,}",
        intro,
        "Lower figures are better. A ratio is the short log's time divided by the long one's in "
        "the same round: the median of the rounds, and the spread. At 1.0 a log does not slow down "
        f"as it grows; {TARGET:g} is to be reached.",
    ]
    for name, grown in found.items():
        lines = [["", "unit", f"at {few:,}", f"at {many:,}", "ratio (spread)", "reached?"]]
        for row, unit in ROWS.items():
            pairs = zip(grown.few[row], grown.many[row], strict=True)
            ratios = [short / long for short, long in pairs]
            middle = statistics.median(ratios)
            reached = "yes" if middle >= TARGET else "**no**"
            figures = [statistics.median(of[row]) for of in (grown.few, grown.many)]
            spread = f"{middle:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            lines.append([row, unit, *map(shown, figures), spread, reached])
        memory = [f"{grown.few_mb:.1f}", f"{grown.many_mb:.1f}"]
        lines.append(["peak memory of reading everything", "MB", *memory, "-", "-"])
        tenths = ", ".join(f"{one:.1f}" for one in grown.growing)
        parts += [
            f"## {name}",
            table(lines),
            f"Writing the long log in batches of 1,000, µs/event in each tenth: {tenths}.",
        ]
    return "\n\n".join(parts) + "\n"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python3 dev.py bench growth", description=__doc__)
    add = made.add_argument
    add(
        "--events",
        type=_thousands,
        metavar="N",
        default=MANY,
        help=f"the long log (default: {MANY:_})",
    )
    add(
        "--few",
        type=_thousands,
        metavar="N",
        default=FEW,
        help=f"the short log (default: {FEW:_})",
    )
    add("--on", choices=[*TITLES], default=SQLITE, help=f"the database (default: {SQLITE})")
    add("--rounds", type=int, metavar="N", default=5, help="turns (default: 5)")
    add("--smoke", action="store_true", help="3,000 events and one turn: are all answers right?")
    add(
        "--side",
        action="append",
        dest="sides",
        metavar="SIDE",
        choices=[EVERLOG, EVERLOG_PYDANTIC, FLOOR],
        help=f"only this one (default: {EVERLOG} and {FLOOR}); may be given several times",
    )
    add("--save", action="store_true", help="keep what comes out of smaller logs, too")
    return made


def _thousands(text: str) -> int:
    number = int(text)  # which takes 10_000_000
    if number < workload.COUNT or number % workload.COUNT:
        raise argparse.ArgumentTypeError("a multiple of 1,000, please")
    return number


def _require_space(database: str, events: int) -> None:
    if database == POSTGRES and VARIABLE in os.environ:
        return  # who knows where that one keeps it
    needed = events * BYTES_AN_EVENT[database]
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        sys.exit(
            f"{events:,} events need about {needed / 1e9:.1f} GB where temporary files go, and "
            f"{free / 1e9:.1f} GB are free: set TMPDIR, or ask for fewer with --events"
        )


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
