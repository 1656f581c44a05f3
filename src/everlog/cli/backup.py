"""`everlog backup`: a consistent copy, while the ledger is in use."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

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
        "backup",
        help="write a consistent copy of a SQLite ledger",
        about="Writes a consistent copy of a ledger in a SQLite file to a new file, while\n"
        "programs use it. Never copy the file by other means. PostgreSQL has its own tools, such\n"
        "as pg_dump.",
        examples="  everlog backup sqlite:///app.db copies/app-$(date +%F).db",
    )
    add_url(parser)
    parser.add_argument("file", metavar="FILE", help="that does not exist yet")
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    async with opened(options) as store, progress("copying"):
        position = (await store.info()).position
        await store.backup(options.file)
    size = os.stat(options.file).st_size
    Shown(options).facts({"file": options.file, "position_at_least": position, "bytes": size})
