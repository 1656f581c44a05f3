"""The command `everlog`: what it is told, and how it ends.

Exit codes: 0 done, 1 it cannot be done (one line on stderr says why), 2 it was not understood,
130 interrupted. What it answers is on stdout, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import everlog
from everlog.cli import migrating
from everlog.errors import EverlogError

FAILED = 1
INTERRUPTED = 130
CLOSED = 141
"""As of a program that SIGPIPE ended: nobody reads what it says any more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, of the command line unless others are given; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except EverlogError as error:
        print(f"everlog: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("everlog: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="everlog", description="Looks after the ledgers of everlog.")
    parser.add_argument("--version", action="version", version=f"everlog {everlog.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    migrating.add_to(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that does not repeat what it did not understand: it may have a password in it."""

    def error(self, message: str) -> NoReturn:
        super().error(re.sub(_QUOTING, r"\1 (not shown: it could hold a password)", message))


_QUOTING = re.compile(
    "(unrecognized arguments|invalid choice|explicit argument|ambiguous option).*", re.S
)
