"""`everlog fold`: the state that a reducer or an aggregate gives."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from everlog.cli.exits import CannotDo
from everlog.cli.opening import events_of, load, moment, opened, told, waiting
from everlog.cli.parsing import add_command, add_events, add_url, whole
from everlog.cli.progress import progress
from everlog.cli.showing import Shown, as_json, harmless

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "fold",
        help="the state that a reducer or aggregate of yours gives",
        about="Folds the records of a stream, or of all streams of a relation, by a reducer or an\n"
        "aggregate of a module of yours, which is looked for in the current folder, too. The\n"
        "events are those of that module, unless --events says where they are.",
        examples="  everlog fold sqlite:///app.db users:user_reducer user-1\n"
        "  everlog fold sqlite:///app.db users:User user-1 --as-of 2026-01-31T12:00:00Z",
    )
    add_url(parser)
    parser.add_argument("reducer", metavar="MODULE:REDUCER", help="a reducer, or an aggregate")
    parser.add_argument("stream", metavar="STREAM", help="of this stream; a relation with -r")
    parser.add_argument(
        "-r", "--relation", action="store_true", help="STREAM is the name of a relation"
    )
    parser.add_argument(
        "--as-of", type=moment, metavar="MOMENT", help="as it was then: a time with a zone, a stamp"
    )
    parser.add_argument(
        "--until", type=whole, metavar="POSITION", help="only records up to this position"
    )
    add_events(parser, why="if they are elsewhere")
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    from everlog import AggregateRoot, EverlogError, Reducer, events_in
    from everlog.errors import DecodeError

    if ":" not in options.reducer:
        options.refuse("name a reducer as MODULE:REDUCER")
    reducer: Any = load(options.reducer)
    is_aggregate = _is(AggregateRoot, reducer)
    if not is_aggregate and not _is(Reducer, reducer):
        raise CannotDo(
            f"{options.reducer} is no reducer and no aggregate; decorate it: @reducer(...)"
        )
    if is_aggregate and options.until is not None:
        options.refuse("--until goes with a reducer; of an aggregate, use --as-of")
    module = sys.modules[options.reducer.partition(":")[0]]
    named = events_of(options)
    where: dict[str, Any] = {"relation" if options.relation else "stream": options.stream}
    async with opened(options, events=named or events_in(module)) as store:
        try:
            async with progress("folding"):
                if is_aggregate:
                    state = await store.get(reducer, as_of=options.as_of, **where)
                else:
                    state = await store.reduce(
                        reducer, as_of=options.as_of, until=options.until, **where
                    )
        except DecodeError as error:
            if named:
                raise
            where_from = (
                "--events",
                f"what {module.__name__} names was taken; say where the upcasts are, if elsewhere",
            )
            problems = [*error.problems, where_from]
            raise DecodeError(error.event_type, error.event_id, problems) from error
        except EverlogError:
            raise
        except Exception as error:  # of the reducer, which is the user's
            raise CannotDo(f"{options.reducer} has failed: {told(error)}") from error
    if state is None:
        kind = "relation" if options.relation else "stream"
        raise CannotDo(f"{kind} {harmless(options.stream[:80])!r} has no records there")
    _show(Shown(options), as_json(state))


def _is(cls: type[Any], value: object) -> bool:
    """Whether a value is of a class, or extends it."""
    return isinstance(value, cls) or (isinstance(value, type) and issubclass(value, cls))


def _show(shown: Shown, state: Any) -> None:
    if shown.json or not shown.terminal:
        shown.value(state)
        return
    for line in json.dumps(state, ensure_ascii=False, indent=2).split("\n"):
        shown.line(harmless(line))
