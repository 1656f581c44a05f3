"""`everlog subscriptions`: how they stand, and what a person does about what failed."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from everlog.cli.exits import CannotDo
from everlog.cli.opening import events_of, load, name_of, opened, told, waiting
from everlog.cli.parsing import add_command, add_events, add_url, some, whole
from everlog.cli.progress import progress
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_STATUS = (
    *("name", "position", "lag", "lag_s", "version", "slices", "workers", "waiting", "parked"),
    *("retrying", "behind", "pending_effects", "ambiguous_effects", "parked_effects"),
    "error",
)
_ON_A_TERMINAL = ("name", "position", "lag", "lag_s", "workers", "parked", "behind", "state")
_PARKED = ("name", "position", "stream", "status", "tries", "error")


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "subscriptions",
        help="how subscriptions stand, and what failed in them",
        description="Shows how subscriptions stand, and does what a person does about them.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    action = add_command(
        actions,
        "status",
        help="how they stand",
        about="Lists the subscriptions: how far each is, who works on it, and what waits.",
        examples="  everlog subscriptions status sqlite:///app.db",
    )
    add_url(action)
    action.set_defaults(run=waiting(_status))

    action = add_command(
        actions,
        "parked",
        help="the records that are set aside",
        about="Lists the records that are set aside, those too that were skipped or dropped.",
        examples="  everlog subscriptions parked sqlite:///app.db emails",
    )
    add_url(action)
    action.add_argument("name", nargs="?", metavar="NAME", help="only of this subscription")
    action.add_argument("--stream", metavar="NAME", help="only of this stream")
    action.add_argument("-n", "--limit", type=some, default=1000, metavar="N", help="at most")
    action.set_defaults(run=waiting(_parked))

    for name, help, about in (
        (
            "retry",
            "have parked records tried again",
            "Has parked records tried again: all, those of a stream, or one. What waits behind\n"
            "them follows by itself.",
        ),
        (
            "drop",
            "give parked records up",
            "Gives parked records up: all, those of a stream, or one. They stay listed, as\n"
            "dropped, and what waits behind them follows.",
        ),
    ):
        action = add_command(
            actions,
            name,
            help=help,
            about=about,
            examples=f"  everlog subscriptions {name} sqlite:///app.db emails --stream user-1",
        )
        add_url(action)
        action.add_argument("name", metavar="NAME", help="of the subscription")
        action.add_argument("--stream", metavar="NAME", help="those of this stream")
        action.add_argument("--position", type=whole, metavar="N", help="the one of this position")
        action.add_argument("--all", action="store_true", help="all of the subscription")
        action.set_defaults(run=waiting(_again), action=name)

    action = add_command(
        actions,
        "rewind",
        help="have one go back and handle records again",
        about="Sets a subscription that nobody runs back to a position: what stands behind it is\n"
        "handled again by `on`, `all` and `state` handlers, whose tables must bear that. Effects\n"
        "(`once`) that were owed once are not owed again.",
        examples="  everlog subscriptions rewind sqlite:///app.db emails --to 0 --yes",
    )
    add_url(action)
    action.add_argument("name", metavar="NAME", help="of the subscription")
    action.add_argument(
        "--to", type=whole, required=True, metavar="POSITION", help="0 is the beginning"
    )
    _add_yes(action)
    action.set_defaults(run=waiting(_rewind))

    action = add_command(
        actions,
        "remove",
        help="forget one that nobody runs",
        about="Forgets a subscription that nobody runs, with all that is kept of it, such as\n"
        "which effects have happened. What its handlers have written stays.",
        examples="  everlog subscriptions remove sqlite:///app.db emails --yes",
    )
    add_url(action)
    action.add_argument("name", metavar="NAME", help="of the subscription")
    _add_yes(action)
    action.set_defaults(run=waiting(_remove))

    action = add_command(
        actions,
        "rebuild",
        help="fill a new version of a read model, and swap it in",
        about="Fills the tables of a new version beside the live one, shows how far it is, and\n"
        "swaps it in when it has caught up. Ctrl-C stops it; it goes on where it was. The\n"
        "projector and the swap, `async def swap(tx)`, are of a module of yours.",
        examples="  everlog subscriptions rebuild sqlite:///app.db emails --version 2 \\\n"
        "      --projector emails:projector_2 --swap emails:swap",
    )
    add_url(action)
    action.add_argument("name", metavar="NAME", help="of the subscription")
    action.add_argument("--version", type=some, required=True, metavar="N", help="the new one")
    for option in ("--projector", "--swap"):
        action.add_argument(option, required=True, metavar="MODULE:NAME")
    add_events(action, why="if they are not in the projector's module")
    action.set_defaults(run=waiting(_rebuild))


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it: it cannot be taken back")


async def _status(options: argparse.Namespace) -> None:
    shown = Shown(options)
    async with opened(options) as store:
        statuses = await store.subscriptions.status()
    if shown.terminal and not shown.json:
        rows = [
            [*(getattr(each, name) for name in _ON_A_TERMINAL[:-1]), _state_of(each)]
            for each in statuses
        ]
        shown.table(_ON_A_TERMINAL, rows, none="there are no subscriptions", colors=("cyan",))
    else:
        shown.table(_STATUS, [[getattr(each, name) for name in _STATUS] for each in statuses])


def _state_of(status: Any) -> str:
    if status.error:
        return f"stopped: {status.error}"
    if status.parked or status.parked_effects or status.ambiguous_effects:
        return "waits for a person"
    if not status.workers:
        return "not running"
    return "retrying" if status.retrying else "running"


async def _parked(options: argparse.Namespace) -> None:
    shown = Shown(options)
    name = name_of(options)
    async with opened(options) as store:
        parked = await store.subscriptions.parked(name, stream=options.stream, limit=options.limit)
    rows = [[getattr(each, column) for column in _PARKED] for each in parked]
    shown.table(_PARKED, rows, none="nothing is set aside", colors=("cyan",))


async def _again(options: argparse.Namespace) -> None:
    given = [options.stream is not None, options.position is not None, options.all]
    if sum(given) != 1:
        options.refuse("say which: --stream NAME, --position N, or --all")
    async with opened(options) as store:
        act = getattr(store.subscriptions, options.action)
        count = await act(options.name, stream=options.stream, position=options.position)
    _counted(Shown(options), {"retry": "retried", "drop": "dropped"}[options.action], count)


def _counted(shown: Shown, what: str, count: int) -> None:
    if shown.json:
        shown.value({what: count})
    else:
        shown.line(f"{what} {count} record{'' if count == 1 else 's'}")


async def _rewind(options: argparse.Namespace) -> None:
    if not options.yes:
        options.refuse("records would be handled again: say --yes")
    async with opened(options) as store:
        await store.subscriptions.rewind(options.name, to=options.to)
    Shown(options).facts({"name": options.name, "position": options.to})


async def _remove(options: argparse.Namespace) -> None:
    if not options.yes:
        options.refuse("it cannot be taken back: say --yes")
    async with opened(options) as store:
        await store.subscriptions.remove(options.name)
    Shown(options).facts({"removed": options.name})


async def _rebuild(options: argparse.Namespace) -> None:
    import sys

    from everlog import EverlogError

    projector, swap = load(options.projector), load(options.swap)
    module = sys.modules[options.projector.partition(":")[0]]
    async with opened(options, events=events_of(options, or_of=module)) as store:
        rebuild = store.rebuild(options.name, projector, version=options.version, swap=swap)
        try:
            async with progress("rebuilding") as tell, rebuild:
                caught_up = asyncio.ensure_future(rebuild.caught_up())
                try:
                    while not caught_up.done():
                        await asyncio.wait([caught_up], timeout=0.2)
                        now = await rebuild.progress()
                        tell(now.position, now.head)
                    await caught_up
                finally:
                    caught_up.cancel()
                await rebuild.swap()
        except EverlogError:
            raise
        except Exception as error:  # of the projector or the swap, which are the user's
            raise CannotDo(f"the rebuild has failed: {told(error)}") from error
    Shown(options).facts({"name": options.name, "version": options.version})
