"""`everlog append`: an event of a person's."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from everlog.cli.exits import CannotDo
from everlog.cli.opening import events_of, opened, waiting
from everlog.cli.parsing import EVENTS, add_command, add_events, add_url
from everlog.cli.showing import Shown, record_facts

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "append",
        help="append an event",
        about="Appends an event to a stream, after its data and meta have been validated by the\n"
        "class that --events names. Without classes, --untyped appends any JSON as it is.",
        examples="  everlog append sqlite:///app.db user-1 user:email-set '\"jane@doe.com\"' "
        "--events users\n"
        "  everlog append sqlite:///app.db user-2 user:created - --events users --expect new "
        "< data.json",
    )
    add_url(parser)
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("type", metavar="TYPE", help="such as user:created")
    parser.add_argument("data", metavar="JSON", help="its data; - reads it from stdin")
    parser.add_argument("--meta", metavar="JSON", help="what is said about it")
    parser.add_argument(
        "--expect",
        type=_expectation,
        metavar="any|new|exists|VERSION",
        help="what the stream must be; default: any",
    )
    parser.add_argument(
        "--id", help="the event's id: the same again with the same content is a retry"
    )
    parser.add_argument(
        "--relation",
        metavar="KEY",
        action="append",
        default=[],
        help="a relation that the stream is added to; may be repeated",
    )
    parser.add_argument(
        "--untyped",
        action="store_true",
        help="append any JSON; its register is its type, and its schema 1",
    )
    parser.add_argument("--create", action="store_true", help="create the ledger if there is none")
    add_events(parser, why="one of which is of this type")
    parser.set_defaults(run=waiting(_run))


def _expectation(text: str) -> str | int:
    if text.lower() in ("any", "new", "exists"):
        return text.lower()
    if re.fullmatch("[0-9]{1,18}", text):
        return int(text)
    raise argparse.ArgumentTypeError("it is none of any, new, exists, or a version")


async def _run(options: argparse.Namespace) -> None:
    from everlog import ANY, EXISTS, NEW, Expectation

    data = _json(sys.stdin.read() if options.data == "-" else options.data, "the data")
    meta = None if options.meta is None else _json(options.meta, "the meta")
    words: dict[object, Expectation] = {None: ANY, "any": ANY, "new": NEW, "exists": EXISTS}
    expected: Any = words.get(options.expect, options.expect)
    if options.untyped:
        classes = [_untyped(options.type, has_meta=meta is not None)]
    else:
        classes = events_of(options)
        if not classes:
            raise CannotDo(
                f"name the module of the event classes: --events MODULE, or {EVENTS}; or append "
                "the JSON as it is: --untyped"
            )
    async with opened(options, events=classes, create=options.create) as store:
        event, about = store.event_from(options.type, data, meta)
        [record] = await store.append(
            options.stream,
            event,
            meta=about,
            expect=expected,
            ids=None if options.id is None else [options.id],
            relations=options.relation,
        )
    shown = Shown(options)
    if shown.json:
        shown.value(record_facts(record))
    else:
        shown.facts(
            {
                "position": record.position,
                "stream": record.stream,
                "version": record.version,
                "id": record.id,
            }
        )


def _untyped(type: str, *, has_meta: bool) -> type[Any]:
    """Returns a class of events of this type whose data may be any JSON."""
    from pydantic import JsonValue, RootModel

    from everlog import event

    class Meta(RootModel[JsonValue]): ...

    class Untyped(RootModel[JsonValue]): ...

    return event(type, meta=Meta if has_meta else None)(Untyped)


def _json(text: str, what: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise CannotDo(f"{what} has the key {key[:80]!r} twice")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        hint = " (a text needs quotes of its own: '\"text\"')" if text[:1].isalpha() else ""
        raise CannotDo(f"{what} is no JSON: {error}{hint}") from None
