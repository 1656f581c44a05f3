"""`everlog demo`: a short tour of what a ledger does, on files of its own."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import tempfile
import textwrap
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from everlog.cli.exits import FOUND, CannotDo
from everlog.cli.parsing import add_command
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands
    from everlog.cli.touring import Step

FILES = ("bank.db", "bank.views.db", "branch.db", "damaged.db")
WIDTH = 75
"""Of what is said of a step, in columns."""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "demo",
        help="a tour of what a ledger does, in a few seconds",
        about="Shows what a ledger does, on files of its own: events appended, a conflict, a\n"
        "fold, a second store that is brought in step, an event that comes late, a durable\n"
        "subscription, and a flipped bit that is found. Ends with 3 if anything is not as told.",
        examples="  everlog demo\n  everlog demo --keep tour    # and look at what it has made",
    )
    parser.add_argument(
        "--keep", metavar="FOLDER", help="leave the files there (default: they are removed)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    shown = Shown(options)
    if options.keep is None:
        with tempfile.TemporaryDirectory(prefix="everlog-demo-") as temporary:
            return asyncio.run(_tour(Path(temporary), shown, kept=None))
    folder = Path(options.keep)
    for name in FILES:
        if (folder / name).exists():
            raise CannotDo(f"{folder / name} exists; name another folder, or a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotDo(f"folder {folder} cannot be made ({error.strerror})") from error
    return asyncio.run(_tour(folder, shown, kept=folder))


async def _tour(folder: Path, shown: Shown, *, kept: Path | None) -> int:
    from everlog.cli.touring import tour

    all_well = True
    async with aclosing(tour(folder)) as steps:
        number = 0
        async for step in steps:
            number += 1
            ok = step.facts.get("ok", True) is True
            all_well = all_well and ok
            if shown.json:
                shown.value({"step": step.name, **step.facts, "ok": ok})
            else:
                _show(shown, number, step, ok=ok)
            shown.flush()
    if shown.json:
        shown.value({"step": "end", "folder": None if kept is None else str(kept), "ok": all_well})
    else:
        _go_on(shown, kept)
    return 0 if all_well else FOUND


def _show(shown: Shown, number: int, step: Step, *, ok: bool) -> None:
    if number > 1:
        shown.line()
    shown.line(shown.color("bold", f"{number}  {step.title}"))
    for line in textwrap.wrap(step.text, WIDTH):
        shown.line(f"   {shown.color('dim', line)}")
    for line in step.lines:
        shown.line(f"   {line}")
    if not ok:
        shown.line(f"   {shown.color('red', 'this is not as it should be: please report it')}")


def _go_on(shown: Shown, kept: Path | None) -> None:
    shown.line()
    shown.line(shown.color("bold", "Go on"))
    if kept is None:
        lines = ["everlog demo --keep tour     the same, and its files to look at"]
    else:
        bank = url_of(kept / "bank.db")
        lines = [
            f"everlog tail {bank}",
            f"everlog fold {bank} everlog.cli.touring:account account-1",
            f"everlog subscriptions status {bank}",
            f"everlog verify {url_of(kept / 'damaged.db')}",
            "",
        ]
    lines.append("everlog --help               every command; each has --help and --json")
    lines.append("the README and docs          a program of your own in 25 lines, and how-tos")
    for line in lines:
        shown.line(f"   {line}".rstrip())


def url_of(path: Path) -> str:
    """Returns the URL of a file, as a shell takes it."""
    return shlex.quote(f"sqlite:///{quote(path.as_posix(), safe='/:')}")
