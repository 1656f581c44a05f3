"""`everlog tail`: the last records, and those that come."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from everlog.cli.opening import opened, waiting
from everlog.cli.parsing import add_command, add_selection, add_url, whole
from everlog.cli.showing import (
    RECORD_COLORS,
    RECORD_COLUMNS,
    Shown,
    cell,
    fitted,
    record_facts,
    record_row,
)

if TYPE_CHECKING:
    from everlog import Record
    from everlog.cli.parsing import Commands

LINES = 10
_WIDTHS = (8, 24, 20, 7, 24)
"""Of the columns before the data, on a terminal: what comes later is not known."""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "tail",
        help="the last records, and with -f those that come",
        about="Shows the last records, in order of position; with -f goes on with those that\n"
        "come, whichever process appends them, until Ctrl-C.",
        examples="  everlog tail sqlite:///app.db -n 20\n"
        "  everlog tail sqlite:///app.db -f --type user:created --json | jq .data",
    )
    add_url(parser)
    parser.add_argument(
        "-n", "--lines", type=whole, metavar="N", help=f"so many; {LINES} unless --after says more"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    add_selection(parser)
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    show = _Lines(Shown(options))
    async with opened(options) as store:
        which: dict[str, Any] = {
            "stream": options.stream,
            "prefix": options.prefix,
            "relation": options.relation,
            "types": options.types,
        }
        after = options.after or 0
        head = (await store.info()).position
        if options.after is not None and options.lines is None:
            async for record in store.read(after=after, until=head, **which):
                show.record(record)
        else:
            lines = LINES if options.lines is None else options.lines
            last = store.read(after=after, until=head, backwards=True, limit=lines, **which)
            for record in reversed(await last.to_list()):
                show.record(record)
        show.shown.flush()
        if not options.follow:
            return
        if isinstance(after, int):
            after = max(after, head)
        else:
            after = (await store.info()).token if head == (await store.info()).position else head
        async for record in store.follow(after=after, **which):
            show.record(record)
            show.shown.flush()


class _Lines:
    """Records as lines of which each is whole by itself."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown

    def record(self, record: Record[Any]) -> None:
        shown = self.shown
        if shown.json:
            shown.value(record_facts(record))
            return
        row = record_row(record)
        if not shown.terminal:
            shown.line("\t".join(map(cell, row)))
            return
        cells = [cell(value) for value in row]
        parts = [
            fitted(text, width, right=isinstance(value, int))
            for text, width, value in zip(cells, _WIDTHS, row, strict=False)
        ]
        room = shown.width - sum(_WIDTHS) - 2 * len(_WIDTHS)
        parts.append(fitted(cells[-1], max(room, 20)).rstrip())
        parts = [
            shown.color(name, part) if name else part
            for name, part in zip(RECORD_COLORS, parts, strict=True)
        ]
        shown.line("  ".join(parts))


assert len(_WIDTHS) == len(RECORD_COLUMNS) - 1
