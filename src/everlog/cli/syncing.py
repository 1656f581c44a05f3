"""`everlog sync`: keeps a ledger in step with a hub, and shows how far it has got."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from everlog import EventStore, Sync, SyncStatus
from everlog.cli.exits import AWAY, FOUND
from everlog.cli.parsing import add_output
from everlog.cli.showing import Shown
from everlog.cli.stopping import stopped_by
from everlog.errors import InvalidInput, TransportFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from everlog.cli.parsing import Commands

TOKEN_VARIABLE = "EVERLOG_TOKEN"  # noqa: S105 - the name of a variable
MOST_TOKEN = 10_000
"""A longer file holds no token."""

SHOW_S = 0.1
"""So often, in seconds, a terminal shows how far it has got."""
TELL_S = 5.0
"""And so often a line is written elsewhere, while something changes."""

_ABOUT = f"""\
Brings a ledger into step with a hub, and keeps it so: what was written in either is in both.
Without --once it goes on until it is stopped, however long the hub is away meanwhile; nothing is
lost by stopping it at any time. A ledger that is not there yet is made.

The token by which the hub knows this ledger is read from --token-file, or from the environment
variable {TOKEN_VARIABLE}; on the command line all users of a machine could see it."""

_EXAMPLES = f"""\
exit codes:
  0  in step (--once), or stopped by SIGTERM
  1  it cannot be done: one line on stderr says why
  2  it was not understood
  3  in step, but for records that the hub did not take: they are listed on stderr (--once)
  4  the hub was not reached (--once)
  130  interrupted by Ctrl-C

examples:
  {TOKEN_VARIABLE}=... everlog sync sqlite:///shipping.db https://hub.example.com --once
  everlog sync sqlite:///shipping.db https://hub.example.com --token-file /run/secrets/hub
  everlog sync sqlite:///orders.db http://127.0.0.1:8400 --prefix order-"""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = commands.add_parser(
        "sync",
        help="keep a ledger in step with a hub",
        description=_ABOUT,
        epilog=_EXAMPLES,
        allow_abbrev=False,  # --token is not short for --token-file: it would be shown
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("edge", metavar="EDGE", help="the URL of the ledger, sqlite:///app.db")
    parser.add_argument("hub", metavar="HUB", help="the URL of the hub, https://hub.example.com")
    parser.add_argument("--once", action="store_true", help="end when both are in step")
    parser.add_argument(
        "--prefix", metavar="TEXT", help="only streams whose names begin so come here"
    )
    parser.add_argument(
        "--relation", metavar="NAME", help="only streams in this relation at the hub come here"
    )
    parser.add_argument(
        "--token-file", metavar="PATH", help=f"where the token is; else that of {TOKEN_VARIABLE}"
    )
    parser.add_argument(
        "--allow-http",
        action="store_true",
        help="http:// to another machine, too: all on the way can read token and events",
    )
    add_output(parser)
    parser.set_defaults(run=partial(_run, refuse=parser.error))


def _run(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> int:
    if "://" not in options.hub:
        refuse("HUB is the URL of a hub, such as https://hub.example.com")
    return asyncio.run(_sync(options, _token(options.token_file)))


def _token(path: str | None) -> str | None:
    """Returns the token, from where no other user sees it; None if there is none."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with Path(path).open(encoding="utf-8") as file:
            token = file.read(MOST_TOKEN).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"--token-file {path!r} cannot be read: {reason}") from None
    if not token:
        raise InvalidInput(f"--token-file {path!r} is empty")
    return token


async def _sync(options: argparse.Namespace, token: str | None) -> int:
    async with EventStore.open(options.edge) as store:
        sync = store.sync(
            options.hub,
            prefix=options.prefix,
            relation=options.relation,
            token=token,
            allow_http=options.allow_http,
        )
        shown = Shown(options)
        display = _Display(sys.stderr, store, sync, shown)
        if options.once:
            return await _once(sync, display, shown)
        await _go_on(sync, display, shown)
        return 0


async def _once(sync: Sync, display: _Display, shown: Shown) -> int:
    showing = asyncio.create_task(display.run())
    try:
        done = await sync.once()
    except TransportFailed as error:
        await _ended(showing, display)
        if shown.json:
            said = {"error": type(error).__name__, "message": str(error)}
            print(json.dumps(said), file=sys.stderr)
        else:
            print(f"everlog: {error}", file=sys.stderr)
        return AWAY
    finally:
        await _ended(showing, display)
    status = await sync.status()
    if shown.json:
        shown.value(
            {
                "event": "done",
                "in_step": done.in_step,
                "position": status.position,
                "new": done.new,
                "pushed": done.pushed,
                "held": [
                    {
                        "id": held.id,
                        "stream": held.stream,
                        "verdict": held.verdict,
                        "reason": held.reason,
                    }
                    for held in status.held
                ],
            }
        )
        return FOUND if status.held else 0
    shown.line(
        f"in step at position {status.position:,}: {done.new:,} new here, "
        f"{done.pushed:,} new at the hub"
    )
    for held in status.held:
        print(
            f"everlog: held {held.id} of {held.stream!r}: {held.verdict}: {held.reason}",
            file=sys.stderr,
        )
    return FOUND if status.held else 0


async def _go_on(sync: Sync, display: _Display, shown: Shown) -> None:
    stopped = stopped_by(signal.SIGTERM)
    showing = asyncio.create_task(display.run())
    try:
        async with sync:
            waits = [asyncio.ensure_future(each) for each in (stopped.wait(), sync.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
    finally:
        await _ended(showing, display)
        position = (await sync.status()).position
        if shown.json:
            shown.value({"event": "stopped", "position": position})
        else:
            shown.line(f"stopped at position {position:,}")


async def _ended(showing: asyncio.Task[None], display: _Display) -> None:
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)
    display.clear()


class _Display:
    """One line that changes on a terminal; elsewhere a line now and then, in JSON if so asked."""

    def __init__(self, out: TextIO, store: EventStore, sync: Sync, shown: Shown) -> None:
        self._out = out
        self._json = shown if shown.json else None
        self._store = store
        self._sync = sync
        self._live = not shown.json and out.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""
        self._before: tuple[float, int] | None = None
        self._rate = 0.0

    async def run(self) -> None:
        """Shows how far it has got, until it is cancelled."""
        told_at, told = time.monotonic(), ""
        while True:
            await asyncio.sleep(SHOW_S)
            status = await self._sync.status()
            here = (await self._store.info()).position
            self._measure(status.position)
            if self._live:
                self._show(line_of(status, here, self._rate))
                continue
            state = _state(status)
            now = time.monotonic()
            line = line_of(status, here, self._rate)
            # At once what is another state; how far it has got now and then.
            if state == told.partition(";")[0] and (now <= told_at + TELL_S or line == told):
                continue
            told_at, told = now, line
            if self._json is None:
                print(line, file=self._out, flush=True)
            else:
                self._json.value(self._facts(status, here))
                self._json.flush()

    def clear(self) -> None:
        """Takes the line off the terminal."""
        if self._live and self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._shown = ""

    def _show(self, line: str) -> None:
        try:
            width = os.get_terminal_size(self._out.fileno()).columns or 80
        except OSError:
            width = 80
        line = line[: max(10, width - 1)]
        if line != self._shown:
            self._out.write(f"\r\x1b[K{line}")
            self._out.flush()
            self._shown = line

    def _measure(self, position: int) -> None:
        now = time.monotonic()
        if self._before is None:
            self._before = (now, position)
        elif now - self._before[0] >= 1.0:
            since, was = self._before
            self._rate = (position - was) / (now - since)
            self._before = (now, position)

    def _facts(self, status: SyncStatus, here: int) -> dict[str, object]:
        return {
            "event": "progress",
            "in_step": status.in_step,
            "works": status.works,
            "position": status.position,
            "head": status.head,
            "here": here,
            "per_s": round(self._rate),
            "held": len(status.held),
            "error": status.error,
            "tries": status.tries,
        }


def line_of(status: SyncStatus, here: int, per_s: float) -> str:
    """Says how far it has got: in the hub's history, and in the ledger here."""
    parts = [f"hub {status.position:,}{_of_all(status)}", f"here {here:,}"]
    if per_s >= 1:
        parts.append(f"{per_s:,.0f}/s")
    if status.held:
        parts.append(f"{len(status.held):,} held")
    return f"{_state(status)}; {' · '.join(parts)}"


def _of_all(status: SyncStatus) -> str:
    """Says how much of the hub's history there is, and how much is here, while some is not."""
    if status.head is None or status.head <= status.position:
        return ""
    # Rounded down: what is not all of it is never 100%.
    return f" of {status.head:,} ({100 * status.position // status.head}%)"


def _state(status: SyncStatus) -> str:
    """Says in a few words how it stands."""
    if status.error:
        said = "".join(char if char.isprintable() else "?" for char in status.error)
        return f"try {status.tries}: {said}".replace(";", ",")
    if status.hub is None:
        return "saying hello"
    if not status.works and not status.in_step:
        return "another process works"
    return "in step" if status.in_step else "catching up"
