"""`everlog verify`: the whole log is computed again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog.cli.exits import FOUND
from everlog.cli.opening import NO_LEDGER, opened, waiting
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
        "itself. Ends with 3 if anything is wrong, also if what is there is no ledger.",
        examples="  everlog verify sqlite:///app.db",
    )
    add_url(parser)
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> int:
    shown = Shown(options)
    try:
        async with opened(options) as store, progress("verifying") as tell:
            found = await store.verify(progress=tell)
    except NO_LEDGER as error:
        return _show(shown, 0, "", [(None, str(error))])
    problems = [(each.position, each.what) for each in found.problems]
    return _show(shown, found.records, found.chain, problems)


def _show(shown: Shown, records: int, chain: str, problems: list[tuple[int | None, str]]) -> int:
    if shown.json:
        listed = [{"position": position, "what": what} for position, what in problems]
        shown.value({"ok": not listed, "records": records, "chain": chain, "problems": listed})
    elif not problems:
        shown.line(
            f"{shown.color('green', 'ok')}: {records:,} records, chain {chain}"
            if shown.terminal
            else f"ok\t{records}\t{chain}"
        )
    else:
        shown.table(("position", "what"), problems, colors=("red", ""))
    return FOUND if problems else 0
