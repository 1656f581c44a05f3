"""`everlog token`: who may ask a hub, and for what."""

from __future__ import annotations

import argparse
import re
import time as clock
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from everlog.cli.opening import extra
from everlog.cli.parsing import add_output
from everlog.cli.showing import Shown, time

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands
    from everlog.server import Token

_ABOUT = """\
Keeps the tokens of a hub in a file: create it where the hub runs, and not in its database, so that
a backup that is restored does not bring back what was revoked. A change counts at once, also for a
hub that runs.

A pattern says which events: all, or conditions with commas between them, which all have to be met:
prefix=order- (of streams whose names begin so), relation=eu (of streams that are in it), type=T (of
this type; may come again). Of several patterns one is enough."""

_EXAMPLES = """\
examples:
  everlog token create hub.tokens shop --pull all --push prefix=order- --expires 90d
  everlog token list hub.tokens
  everlog token revoke hub.tokens shop"""

_UNITS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = commands.add_parser(
        "token",
        help="say who may ask a hub, and for what",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and print it, this one time")
    create.add_argument("file", metavar="FILE", help="where the tokens are kept")
    create.add_argument("name", metavar="NAME", help="what to call it: each name is there once")
    create.add_argument(
        "--pull", action="append", default=[], metavar="PATTERN", help="what it may read"
    )
    create.add_argument(
        "--push", action="append", default=[], metavar="PATTERN", help="what it may write"
    )
    create.add_argument("--expires", metavar="TIME", help="after 12h, 90d or 4w (default: never)")
    create.add_argument(
        "--ledger",
        metavar="ID",
        help="of the only edge that writes with it (default: the first that comes without a token)",
    )
    add_output(create)
    create.set_defaults(run=partial(_create, refuse=create.error))
    listing = actions.add_parser("list", help="say which tokens there are, without their secrets")
    listing.add_argument("file", metavar="FILE", help="where the tokens are kept")
    add_output(listing)
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="take a token back for ever")
    revoke.add_argument("file", metavar="FILE", help="where the tokens are kept")
    revoke.add_argument("name", metavar="NAME", help="what it is called")
    add_output(revoke)
    revoke.set_defaults(run=_revoke)


def _create(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    with extra():
        from everlog.server import Pattern, TokenFile

    expires_ms: int | None = None
    if options.expires is not None:
        match = re.fullmatch(r"([1-9][0-9]{0,5})([hdw])", options.expires)
        if match is None:
            refuse("--expires is a number and h, d or w, such as 90d")
        expires_ms = int((clock.time() + int(match[1]) * _UNITS[match[2]]) * 1_000)
    if options.ledger is not None and not re.fullmatch("[0-9a-f]{32}", options.ledger):
        refuse("--ledger is the id of a ledger: 32 lower-case hex characters")
    shown = Shown(options)
    file = TokenFile(options.file)
    plain = file.create(
        options.name,
        pull=[Pattern.parse(text) for text in options.pull],
        push=[Pattern.parse(text) for text in options.push],
        expires_ms=expires_ms,
        ledger=options.ledger,
    )
    if not shown.json:
        shown.line(plain)
        return
    [made] = [token for token in file.tokens() if token.name == options.name]
    shown.value({"token": plain, **_facts(made)})


def _list(options: argparse.Namespace) -> None:
    with extra():
        from everlog.server import TokenFile

    shown = Shown(options)
    tokens = TokenFile(options.file).tokens()
    if shown.json:
        for token in tokens:
            shown.value(_facts(token))
        return
    rows = [
        (
            token.name,
            _state_and_day(token),
            ";".join(map(str, token.pull)) or "nothing",
            ";".join(map(str, token.push)) or "nothing",
            token.ledger or "none yet",
        )
        for token in tokens
    ]
    shown.table(
        ("name", "state", "pull", "push", "ledger"),
        rows,
        none="no tokens",
        colors=("cyan", "", "green", "yellow", "dim"),
    )


def _revoke(options: argparse.Namespace) -> None:
    with extra():
        from everlog.server import TokenFile

    TokenFile(options.file).revoke(options.name)
    shown = Shown(options)
    if shown.json:
        shown.value({"revoked": options.name})
    else:
        shown.line(f"revoked {options.name}")


def _facts(token: Token) -> dict[str, object]:
    """Returns what may be known of a token."""
    return {
        "name": token.name,
        "state": _state(token),
        "pull": [str(each) for each in token.pull],
        "push": [str(each) for each in token.push],
        "ledger": token.ledger,
        "created_at": _moment(token.created_ms),
        "expires_at": _moment(token.expires_ms),
        "revoked_at": _moment(token.revoked_ms),
    }


def _state(token: Token) -> str:
    if token.revoked_ms is not None:
        return "revoked"
    return "valid" if token.holds_at(int(clock.time() * 1_000)) else "expired"


def _state_and_day(token: Token) -> str:
    state = _state(token)
    moment = token.expires_ms if token.revoked_ms is None else token.revoked_ms
    if moment is None:
        return state
    day = datetime.fromtimestamp(moment / 1_000, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return f"{'until' if state == 'valid' else state} {day}"


def _moment(ms: int | None) -> str | None:
    return None if ms is None else time(datetime.fromtimestamp(ms / 1_000, UTC))
