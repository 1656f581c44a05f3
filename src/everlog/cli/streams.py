"""`everlog streams`: which streams there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog.cli.opening import opened, waiting
from everlog.cli.parsing import add_command, add_url, some
from everlog.cli.showing import Shown, time

if TYPE_CHECKING:
    from everlog import StreamInfo
    from everlog.cli.parsing import Commands

PAGE = 1_000
_COLUMNS = ("stream", "version", "position", "last_type", "last_recorded_at")


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "streams",
        help="which streams there are",
        about="Lists the streams in order of their names, each with its version and last record.",
        examples="  everlog streams sqlite:///app.db --prefix user-\n"
        "  everlog streams sqlite:///app.db --json | jq -r .stream",
    )
    add_url(parser)
    parser.add_argument("--prefix", metavar="TEXT", help="those whose names begin so")
    parser.add_argument("--after", metavar="NAME", help="those that come behind this name")
    parser.add_argument("-n", "--limit", type=some, metavar="N", help="so many at most")
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    shown = Shown(options)
    after: str | None = options.after
    left: int | None = options.limit
    first = True
    async with opened(options) as store:
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await store.streams(prefix=options.prefix, after=after, limit=size)
            if page or first:
                rows = map(_row, page)
                shown.table(
                    _COLUMNS, rows, head=first, none="there are no streams", colors=("cyan",)
                )
            if len(page) < size:
                return
            after, first = page[-1].stream, False
            left = None if left is None else left - len(page)


def _row(stream: StreamInfo) -> tuple[object, ...]:
    return stream.stream, stream.version, stream.position, stream.type, time(stream.recorded_at)
