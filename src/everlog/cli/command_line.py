"""The command `everlog`: what it is told, and how it ends.

What it answers is on stdout, and nothing else. `exits.py` has its exit codes. Each command is in a
file of its own, which is imported when it is the one that was asked for.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile

import everlog
from everlog.cli.exits import CLOSED, FAILED, INTERRUPTED, CannotDo
from everlog.cli.parsing import JsonParser, Parser
from everlog.errors import EverlogError

COMMANDS = {
    "demo": "demo",
    "info": "info",
    "tail": "tail",
    "show": "show",
    "streams": "streams",
    "fold": "fold",
    "append": "append",
    "subscriptions": "subscriptions",
    "effects": "effects",
    "verify": "verify",
    "doctor": "doctor",
    "backup": "backup",
    "export": "export",
    "import": "importing",
    "migrate": "migrating",
    "serve": "serving",
    "token": "tokens",
    "sync": "syncing",
    "print": "printing",
    "schema": "schema",
    "completion": "completion",
}
"""In the order in which the help lists them: a command, and the file in which it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, of the command line unless others are given; returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    _write_anything()
    options = parser_of(given).parse_args(given)
    as_json: bool = getattr(options, "json", False)
    try:
        code: int | None = options.run(options)
        sys.stdout.flush()
        return code or 0
    except (EverlogError, CannotDo) as error:
        return _failed(error, as_json=as_json)
    except KeyboardInterrupt:
        print("everlog: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except OSError as error:  # such as a disk that is full behind `>`
        return _failed(error, as_json=as_json)


def parser_of(arguments: Sequence[str]) -> Parser:
    """Returns a parser of the command that is asked for; of all of them, where that is unclear."""
    # Looked for here, as what was not understood may stand before it.
    words = [*takewhile(lambda word: word != "--", arguments)]
    kind = JsonParser if "--json" in words else Parser
    parser = kind(prog="everlog", description="Looks after the ledgers of everlog.")
    parser.add_argument("--version", action="version", version=f"everlog {everlog.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = arguments[0] if arguments else ""
    for name, module in COMMANDS.items():
        if asked not in COMMANDS or name == asked:
            import_module(f"everlog.cli.{module}").add_to(commands)
    return parser


def _failed(error: Exception, *, as_json: bool) -> int:
    said = re.sub(r"([:;,.]?)\s*\n\s*", _goes_on, str(error)) or type(error).__name__
    if as_json:
        kind = type(error).__name__
        print(json.dumps({"error": kind, "message": said}), file=sys.stderr)
    else:
        print(f"everlog: {said}", file=sys.stderr)
    return FAILED


def _goes_on(ended: re.Match[str]) -> str:
    return f"{ended[1] or ';'} "


def _write_anything() -> None:
    """Has a terminal that lacks a character be shown its number, and not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
