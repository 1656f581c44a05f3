"""`everlog schema`: writes configurations of classes, and tells what today's code cannot read."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from everlog.cli.exits import FOUND
from everlog.cli.opening import events_of, opened, waiting
from everlog.cli.parsing import add_events, add_output, add_url
from everlog.cli.progress import progress
from everlog.cli.showing import Shown
from everlog.cli.unreadable import Unreadable
from everlog.printing import export_events

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_ABOUT_CHECK = """\
Decodes every stored event with today's classes and upcasts, as a fold would, and says which fail:
how many, and where the first one stands. Nothing is changed. Ends with 3 if one fails."""


def add_to(commands: Commands) -> None:
    """Adds the commands to those that are known."""
    parser = commands.add_parser("schema", help="shapes of events: export and check")
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)
    export = kinds.add_parser(
        "export",
        help="write configurations of event classes",
        description="Writes a configuration for each class of a list of events, as `everlog print` "
        "reads them.",
        allow_abbrev=False,
    )
    export.add_argument(
        "events", metavar="MODULE[:NAME]", help="the events of a module, or a list in it"
    )
    export.add_argument("--out", metavar="FOLDER", required=True, help="where to write them")
    export.add_argument("--force", action="store_true", help="replace files that are there")
    add_output(export)
    export.set_defaults(run=_export)
    check = kinds.add_parser(
        "check",
        help="tell which stored events cannot be read",
        description=_ABOUT_CHECK,
        epilog="examples:\n  everlog schema check sqlite:///app.db --events shop.events:EVENTS",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_url(check)
    add_events(check, why="and upcasts")
    check.add_argument(
        "--skip-unknown", action="store_true", help="pass over types that have no class"
    )
    check.add_argument("--json", action="store_true", help="answer in JSON, for machines")
    check.set_defaults(run=waiting(_check))


def _export(options: argparse.Namespace) -> None:
    shown = Shown(options)
    for path in export_events(events_of(options), options.out, replace=options.force):
        if shown.json:
            shown.value({"wrote": path})
        else:
            shown.line(f"wrote {path}")


async def _check(options: argparse.Namespace) -> int:
    events = events_of(options)
    if not events:
        options.refuse("say what to decode with: --events shop.events:EVENTS")
    found = Unreadable(skip_unknown=options.skip_unknown)
    async with opened(options, events=events) as store, progress("decoding") as tell:
        head = (await store.info()).position
        async for record in store.read():
            found.look_at(record)
            tell(record.position, head)
    print(json.dumps(found.as_json()) if options.json else found.as_table())
    return FOUND if found.failing else 0
