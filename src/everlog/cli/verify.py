"""`everlog verify`: the whole log is computed again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog.cli.exits import FOUND
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
        "verify",
        help="compute every hash and the chain again",
        about="Computes every hash and the chain of the log again, and has the storage check\n"
        "itself. Ends with 3 if anything is wrong.",
        examples="  everlog verify sqlite:///app.db",
    )
    add_url(parser)
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> int:
    shown = Shown(options)
    async with opened(options) as store, progress("verifying") as tell:
        found = await store.verify(progress=tell)
    problems = [{"position": each.position, "what": each.what} for each in found.problems]
    if shown.json:
        shown.value(
            {
                "ok": found.ok,
                "records": found.records,
                "chain": found.chain,
                "problems": problems,
            }
        )
    elif found.ok:
        shown.line(
            f"{shown.color('green', 'ok')}: {found.records:,} records, chain {found.chain}"
            if shown.terminal
            else f"ok\t{found.records}\t{found.chain}"
        )
    else:
        shown.table(
            ("position", "what"),
            [(each.position, each.what) for each in found.problems],
            colors=("red", ""),
        )
    return 0 if found.ok else FOUND
