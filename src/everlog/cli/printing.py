"""`everlog print`: prints events from their configurations."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog.cli.parsing import add_output
from everlog.cli.showing import Shown
from everlog.printing import print_events

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_ABOUT = """\
Prints event classes, TypeScript and JSON Schema from folders of configurations: JSON files, one
event each. What was printed is kept in a lock, to be committed with the configurations: a change
that stored events do not survive is refused unless the event has a new schema number."""

_EXAMPLES = """\
examples:
  everlog print events/ --out shop/events.py
  everlog print events/ --out shop/events.py --typescript web/events.ts --json-schema schemas/
  everlog print events/ --out shop/events.py --check      (in CI: changes nothing)"""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = commands.add_parser(
        "print",
        help="print event classes from configurations",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "configs", nargs="+", metavar="FOLDER", help="of configurations, or a file of one"
    )
    parser.add_argument("--out", metavar="FILE", help="the Python module")
    parser.add_argument("--typescript", metavar="FILE", help="the module of TypeScript's types")
    parser.add_argument("--json-schema", metavar="FOLDER", help="of a JSON Schema for each event")
    parser.add_argument(
        "--lock", metavar="FILE", help="default: events.lock.json in the first folder"
    )
    parser.add_argument(
        "--line-length", type=int, default=88, metavar="N", help="of the Python module"
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if something would change"
    )
    add_output(parser)
    parser.set_defaults(run=_run, refuse=parser.error)


def _run(options: argparse.Namespace) -> None:
    if not (options.out or options.typescript or options.json_schema):
        options.refuse("say what to print: --out, --typescript or --json-schema")
    changed = print_events(
        options.configs,
        out=options.out,
        typescript=options.typescript,
        json_schema=options.json_schema,
        lock=options.lock,
        line_length=options.line_length,
        check=options.check,
    )
    shown = Shown(options)
    for path in changed:
        if shown.json:
            shown.value({"printed": path})
        else:
            shown.line(f"printed {path}")
    if not changed and not shown.json:
        shown.line("nothing has changed")
