"""`everlog export`: the log, or a part of it, as text."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from everlog.cli.opening import moment, opened, waiting
from everlog.cli.parsing import add_command, add_selection, add_url, whole
from everlog.cli.progress import progress
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

FORMATS = ("ndjson", "cloudevents", "cloudevents-batch", "original")


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "export",
        help="write records to a file: NDJSON, CloudEvents, ...",
        about="Writes records in order of position. ndjson, a record a line, loses nothing:\n"
        "`everlog import` makes the same records of it, hash for hash. cloudevents: CloudEvents\n"
        "1.0, one a line, or as one list (cloudevents-batch). original: as the TypeScript library\n"
        "has them. A file appears when it is whole.",
        examples="  everlog export sqlite:///app.db app.ndjson\n"
        "  everlog export sqlite:///app.db - --prefix user- --format cloudevents | gzip > users.gz",
    )
    add_url(parser)
    parser.add_argument("file", metavar="FILE", help="a new file; - is stdout")
    parser.add_argument("--format", choices=FORMATS, default="ndjson", help="default: ndjson")
    parser.add_argument("--replace", action="store_true", help="the file may exist")
    add_selection(parser)
    parser.add_argument("--until", type=whole, metavar="POSITION", help="up to this position")
    parser.add_argument("--as-of", type=moment, metavar="MOMENT", help="created by then")
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    to_stdout = options.file == "-"
    async with opened(options) as store, progress("exporting") as tell:
        done = await store.export(
            sys.stdout.buffer if to_stdout else options.file,
            format=options.format,
            stream=options.stream,
            prefix=options.prefix,
            relation=options.relation,
            types=options.types,
            after=options.after or 0,
            until=options.until,
            as_of=options.as_of,
            replace=options.replace,
            progress=tell,
        )
    # Of what goes to stdout, stderr tells, where somebody reads it.
    if to_stdout and not (options.json or sys.stderr.isatty()):
        return
    shown = Shown(options, sys.stderr if to_stdout else None)
    facts: dict[str, object] = {"records": done.records, "position": done.position}
    if done.left_out:
        facts["left_out"] = done.left_out
    shown.facts(facts)
