"""`everlog serve`: offers a ledger to its edges over HTTP, until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from everlog import EventStore, InvalidInput
from everlog.cli.opening import extra
from everlog.cli.parsing import URL_VARIABLE, add_output
from everlog.cli.showing import Shown
from everlog.cli.stopping import stopped_by

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

SECRET_VARIABLE = "EVERLOG_SECRET"  # noqa: S105  # its name, not the secret
PORT = 8787

_ABOUT = f"""\
Offers a ledger as the hub of its edges, over HTTP, until it is interrupted (Ctrl-C or SIGTERM).

Without tokens it answers to this machine alone. With them, see `everlog token`, it needs a secret,
by which edges give back what the hub has lost: 32 or more hex characters, always the same, in a
file that only its owner can read, or in the environment variable {SECRET_VARIABLE}. Keep it, as the
tokens, outside of the database and its backups."""

_EXAMPLES = """\
examples:
  everlog serve sqlite:///hub.db
  umask 077; openssl rand -hex 32 > hub.secret
  everlog token create hub.tokens shop --pull all --push prefix=order-
  everlog serve sqlite:///hub.db --tokens hub.tokens --secret-file hub.secret \\
      --host 0.0.0.0 --certificate hub.pem --key hub.key"""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = commands.add_parser(
        "serve",
        help="offer a ledger to its edges over HTTP",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help=f"of the ledger; else that of {URL_VARIABLE}"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where (default: this machine alone)")
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}; 0 takes a free one"
    )
    parser.add_argument("--tokens", metavar="FILE", help="who may ask: made by everlog token")
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        help=f"the secret of receipts; else that of {SECRET_VARIABLE}",
    )
    parser.add_argument(
        "--strict",
        action="append",
        default=[],
        metavar="PREFIX",
        help="streams whose names begin so are appended to here alone; may come again",
    )
    parser.add_argument("--certificate", metavar="FILE", help="for TLS, in PEM")
    parser.add_argument("--key", metavar="FILE", help="that of the certificate, in PEM")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="speak plain HTTP to other machines: what speaks TLS stands before it",
    )
    add_output(parser)
    parser.set_defaults(run=partial(_run, refuse=parser.error))


def _run(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    url: str = options.url or os.environ.get(URL_VARIABLE, "")
    if not url:
        refuse(f"name a ledger: everlog serve URL, or put its URL into {URL_VARIABLE}")
    if options.key is not None and options.certificate is None:
        refuse("--key goes with --certificate")
    if not 0 <= options.port <= 65_535:
        refuse("--port is a number from 0 to 65535")
    asyncio.run(_serve(url, options))


async def _serve(url: str, options: argparse.Namespace) -> None:
    # Here and not above: the other commands work where the extra is not installed.
    with extra():
        from everlog.server import TokenFile, serve

    tokens = None
    if options.tokens is not None:
        tokens = TokenFile(options.tokens)
        tokens.tokens()  # says at once if it cannot be read
    secret = read_secret(options.secret_file, os.environ.get(SECRET_VARIABLE))
    stopping = stopped_by(signal.SIGINT, signal.SIGTERM)
    shown = Shown(options)
    more: dict[str, Any] = {"strict": options.strict} if options.strict else {}
    async with (
        EventStore.open(url, **more) as store,
        serve(
            store,
            host=options.host,
            port=options.port,
            tokens=tokens,
            secret=secret,
            certificate=options.certificate,
            key=options.key,
            behind_proxy=options.behind_proxy,
        ) as server,
    ):
        if shown.json:
            shown.value({"event": "listening", "url": server.url, "tokens": tokens is not None})
        else:
            shown.line(f"serving on {server.url}")
        shown.flush()
        if tokens is None and not shown.json:
            print("everlog: without tokens: for this machine alone", file=sys.stderr, flush=True)
        await stopping.wait()
    if shown.json:
        shown.value({"event": "stopped"})
    else:
        shown.line("stopped")


def read_secret(path: str | None, text: str | None) -> bytes | None:
    """Returns the secret of a file, else of a text; raises `InvalidInput` for what is none."""
    where = SECRET_VARIABLE
    if path is not None:
        where = path
        try:
            mode = Path(path).stat().st_mode
            text = Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"the secret in {path} cannot be read: {type(error).__name__}; make one: "
                "umask 077; openssl rand -hex 32 > FILE"
            ) from None
        # Windows has no such modes: who may read a file is said there by other means.
        if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
            raise InvalidInput(f"others can read {path}: chmod 600 it, and make a new secret")
    if text is None or not text.strip():
        return None
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise InvalidInput(
            f"{where} holds no secret: that is 32 or more hex characters; make one: "
            "umask 077; openssl rand -hex 32 > FILE"
        )
    return secret
