"""`everlog show`: a record with all that is known of it, or the records of a stream."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

from everlog.cli.exits import CannotDo
from everlog.cli.opening import opened, waiting
from everlog.cli.parsing import add_command, add_url, some
from everlog.cli.showing import (
    RECORD_COLORS,
    RECORD_COLUMNS,
    Shown,
    harmless,
    record_facts,
    record_row,
)

if TYPE_CHECKING:
    from everlog import EventStore, Record
    from everlog.cli.parsing import Commands

PAGE = 500


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "show",
        help="a record, or the records of a stream",
        about="Shows a record, named by its position or its event's id, with all that is known of\n"
        "it; or the records of a stream. What is a number is a position, unless --stream or --id\n"
        "says what it is.",
        examples="  everlog show sqlite:///app.db 17\n  everlog show sqlite:///app.db user-1",
    )
    add_url(parser)
    parser.add_argument("what", metavar="RECORD|STREAM", help="a position, an id, or a stream")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--stream", action="store_const", const="stream", dest="kind")
    kind.add_argument("--id", action="store_const", const="id", dest="kind")
    parser.add_argument(
        "-n", "--limit", type=some, metavar="N", help="of a stream: the last N records"
    )
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    shown = Shown(options)
    async with opened(options) as store:
        record = await _find(store, options.what, options.kind)
        if record is not None:
            _one(shown, record)
        elif options.kind == "id" or not await _stream(shown, store, options):
            raise CannotDo(f"there is no record and no stream {harmless(options.what[:80])!r} here")


async def _find(store: EventStore, what: str, kind: str | None) -> Record[Any] | None:
    if kind == "stream":
        return None
    if kind is None and re.fullmatch("[1-9][0-9]{0,17}", what):
        at = int(what)
        return await store.read(after=at - 1, until=at).first()
    return await store.find(what)


async def _stream(shown: Shown, store: EventStore, options: argparse.Namespace) -> bool:
    if options.limit:
        last = await store.read(options.what, backwards=True, limit=options.limit).to_list()
        _some(shown, last[::-1], head=True)
        return bool(last)
    found: list[Record[Any]] = []
    first = True
    async for record in store.read(options.what):
        found.append(record)
        if len(found) == PAGE:
            _some(shown, found, head=first)
            found, first = [], False
    if found:
        _some(shown, found, head=first)
    return bool(found) or not first


def _some(shown: Shown, records: list[Record[Any]], *, head: bool) -> None:
    if shown.json:
        for record in records:
            shown.value(record_facts(record))
    elif records:
        shown.table(RECORD_COLUMNS, map(record_row, records), head=head, colors=RECORD_COLORS)


def _one(shown: Shown, record: Record[Any]) -> None:
    facts = record_facts(record)
    if shown.json or not shown.terminal:
        shown.facts(facts)
        return
    data, meta = facts.pop("data"), facts.pop("meta")
    shown.facts(facts)
    for name, value in (("data", data), ("meta", meta)):
        if name == "data" or value is not None:
            shown.line(shown.color("dim", name))
            for line in json.dumps(value, ensure_ascii=False, indent=2).split("\n"):
                shown.line("  " + harmless(line))
