"""everlog, measured beside hand-written code and its peers, in turns: on SQLite and on PostgreSQL.

Without a question all are asked, in about a quarter of an hour on each, and what comes out takes
the place of what is in benchmarks/results/. Keep the machine quiet meanwhile. PostgreSQL is a
server that is started for it, or the one whose URL is in EVERLOG_TEST_POSTGRES.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import databases, growth, report, saving
from benchmarks.databases import TITLES, Database
from benchmarks.machine import ROOT, look
from benchmarks.picture import draw
from benchmarks.question import Size
from benchmarks.questions import QUESTIONS
from benchmarks.running import run, unanswered
from benchmarks.sides import OURS, PEERS, installed


def main(args: Sequence[str]) -> None:
    """Asks, prints the tables, keeps them if all was asked."""
    if args[:1] == ["growth"]:
        growth.main(args[1:])
        return
    options = parser().parse_args(args)
    if options.smoke and not options.on:
        sys.exit(_side_by_side(args))
    for name in options.on or TITLES:
        with databases.opened(name) as database:
            _measure(database, options, args)


def _side_by_side(args: Sequence[str]) -> int:
    """Runs all databases at the same time, where nobody looks at the figures; returns the code."""
    command = [sys.executable, "-m", "benchmarks", *args, "--on"]
    children = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in TITLES
    ]
    for child in children:
        answer, _ = child.communicate()
        print(answer)
    return max(abs(int(child.returncode)) for child in children)


def _measure(database: Database, options: argparse.Namespace, args: Sequence[str]) -> None:
    began = time.monotonic()
    questions = [QUESTIONS[name] for name in options.questions or QUESTIONS]
    sides = options.sides or [*OURS, *(name for name in PEERS if installed(name))]
    size = Size(scale=0.01 if options.smoke else options.scale)
    rounds = 1 if options.smoke else options.rounds
    machine = look(database.settings)
    if database.settings:
        _say(", ".join(f"{name} {found}" for name, found in database.settings.items()))
    results = asyncio.run(run(database, questions, sides, rounds=rounds, size=size, say=_say))
    rows = [row for question in questions for row in question.rows_on(database.name)]
    asked = shlex.join(["python3", "dev.py", "bench", *args])
    text = report.document(results, rows, machine, database=database.name, asked=asked)
    print(text)
    smaller = options.smoke or options.scale < 1
    whole = not (options.questions or options.sides or smaller)
    if options.save or whole:
        picture = draw(results, rows, machine, database=database.name)
        raw = report.raw(results, machine, asked=asked)
        for path in saving.save(database.name, machine, text=text, raw=raw, picture=picture):
            _say(f"wrote {path.relative_to(ROOT)}")
    _say(f"{TITLES[database.name]}: done in {time.monotonic() - began:.0f} s")
    if not options.smoke:
        return
    if missing := unanswered(results, questions, sides, database=database.name):
        sys.exit(f"no figure: {', '.join(missing)}")
    if "eventsourcing" in results.errors:
        sys.exit(
            "eventsourcing has to run: see above; where another peer fails, its error is enough"
        )


def parser() -> argparse.ArgumentParser:
    """Returns the options, and the questions with what each is about."""
    listed = "\n".join(f"  {name:<10}{asked.about}" for name, asked in QUESTIONS.items())
    made = argparse.ArgumentParser(
        prog="python3 dev.py bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"questions:\n{listed}\n\n"
        "  growth    10 million events beside 10,000: `python3 dev.py bench growth --help`\n\n"
        f"sides: {', '.join([*OURS, *PEERS])}\n\n"
        "examples:\n"
        "  python3 dev.py bench read fold --rounds 11\n"
        "  python3 dev.py bench append --on postgres --side floor --side everlog-msgspec\n",
    )
    add = made.add_argument
    add("questions", nargs="*", metavar="question", choices=[*QUESTIONS, []], help="see below")
    add(
        "--on",
        action="append",
        metavar="DATABASE",
        choices=[*TITLES],
        help=f"{' or '.join(TITLES)} (default: one after the other); may be given several times",
    )
    add("--rounds", type=int, metavar="N", default=7, help="interleaved rounds (default: 7)")
    add(
        "--scale",
        type=float,
        metavar="F",
        default=1.0,
        help="how much is done in a round (default: 1.0)",
    )
    add("--smoke", action="store_true", help="one tiny round: are all answers right?")
    add(
        "--side",
        action="append",
        dest="sides",
        metavar="SIDE",
        choices=[*OURS, *PEERS],
        help="only this one (default: all that are installed); may be given several times",
    )
    add("--save", action="store_true", help="keep what comes out of a part of it, too")
    return made


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
