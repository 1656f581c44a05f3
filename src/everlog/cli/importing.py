"""`everlog import`: records from a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from everlog.cli.exits import CannotDo
from everlog.cli.export import FORMATS
from everlog.cli.opening import opened, waiting
from everlog.cli.parsing import add_command, add_url
from everlog.cli.progress import progress
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "import",
        help="take in records from a file",
        about="Takes in the records of a file, in its order; a ledger that is not there is made.\n"
        "What is here already is passed over, so it can be repeated, and goes on where it was cut\n"
        "short. Of what everlog has exported, the records are the same, hash for hash. Other\n"
        "programs' CloudEvents and records of the original are born here, at their times.",
        examples="  everlog import sqlite:///copy.db app.ndjson\n"
        "  zcat users.gz | everlog import sqlite:///users.db -",
    )
    add_url(parser)
    parser.add_argument("file", metavar="FILE", help="- is stdin")
    parser.add_argument("--format", choices=FORMATS, help="found out, unless it is said")
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    with _source(options.file) as file:  # before a ledger is made
        async with (
            opened(options, create=True) as store,
            progress("importing", unit=" bytes") as tell,
        ):
            done = await store.import_file(file, format=options.format, progress=tell)
    facts: dict[str, object] = {"stored": done.stored, "known": done.known}
    if done.left_out:
        facts["left_out"] = done.left_out
    Shown(options).facts(facts)


@contextmanager
def _source(file: str) -> Generator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open(file, "rb"))
        except OSError as error:
            raise CannotDo(f"{file} cannot be read ({error.strerror})") from error
        yield opened
