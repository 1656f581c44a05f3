"""`everlog effects`: what is owed to the world outside, and what becomes of what is not known."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from everlog.cli.exits import CannotDo
from everlog.cli.opening import name_of, opened, waiting
from everlog.cli.parsing import add_command, add_url, some, whole
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_COLUMNS = ("name", "handler", "position", "stream", "id", "status", "tries", "since_s", "error")
_STATUSES = (
    *("pending", "intent", "succeeded", "done", "retrying"),
    *("ambiguous", "parked", "dropped", "failed"),
)


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "effects",
        help="the effects of `once` handlers, and what becomes of them",
        description="Shows the effects of `once` handlers, and settles those that wait.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    action = add_command(
        actions,
        "list",
        help="the effects of a subscription",
        about="Lists effects, those that are done, too, unless --status says which.",
        examples="  everlog effects list sqlite:///app.db payments --status ambiguous",
    )
    add_url(action)
    action.add_argument("name", nargs="?", metavar="NAME", help="only of this subscription")
    action.add_argument("--status", choices=_STATUSES, help="only these")
    action.add_argument("--stream", metavar="NAME", help="only of this stream")
    action.add_argument("-n", "--limit", type=some, default=1000, metavar="N", help="at most")
    action.set_defaults(run=waiting(_list))

    action = add_command(
        actions,
        "settle",
        help="say what becomes of one that waits for a person",
        about="Says what becomes of an effect that is ambiguous or parked. Ask the receiver\n"
        "first. done: it has happened; retry: it is called again; drop: it is given up.",
        examples="  everlog effects settle sqlite:///app.db payments 17 --as done",
    )
    add_url(action)
    action.add_argument("name", metavar="NAME", help="of the subscription")
    action.add_argument("position", metavar="POSITION", type=whole, help="of the record")
    action.add_argument("--as", choices=("done", "retry", "drop"), required=True, dest="as_")
    action.add_argument("--handler", metavar="NAME", help="if several of the record wait")
    action.add_argument("--result", metavar="JSON", help="with done: what the handler returned")
    action.set_defaults(run=waiting(_settle))


async def _list(options: argparse.Namespace) -> None:
    shown = Shown(options)
    name = name_of(options)
    async with opened(options) as store:
        effects = await store.subscriptions.effects(
            name, status=options.status, stream=options.stream, limit=options.limit
        )
    rows = [[getattr(each, column) for column in _COLUMNS] for each in effects]
    shown.table(_COLUMNS, rows, none="there are no effects", colors=("cyan",))


async def _settle(options: argparse.Namespace) -> None:
    if options.result is not None and options.as_ != "done":
        options.refuse("--result goes with --as done")
    try:
        result = None if options.result is None else json.loads(options.result)
    except (ValueError, RecursionError) as error:
        raise CannotDo(f"the result is no JSON: {error}") from None
    async with opened(options) as store:
        await store.subscriptions.settle(
            options.name,
            options.position,
            handler=options.handler,
            as_=options.as_,
            result=result,
        )
    Shown(options).facts(
        {"name": options.name, "position": options.position, "settled_as": options.as_}
    )
