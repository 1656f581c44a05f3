"""Parsing: what every command understands, and what none repeats."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from everlog.cli.exits import MISUNDERSTOOD

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]  # pyright: ignore[reportPrivateUsage]  # it has no other name

    Run = Callable[[argparse.Namespace], int | None]
"""What a command does; returns its exit code, None for 0."""

URL_VARIABLE = "EVERLOG_URL"


class Parser(argparse.ArgumentParser):
    """A parser that does not repeat what it did not understand: it may have a password in it.

    Options may stand anywhere between the other words of a command.
    """

    _inside = False

    def error(self, message: str) -> NoReturn:
        self._refuse(re.sub(_QUOTING, r"\1 (not shown: it could hold a password)", message))

    def _refuse(self, said: str) -> NoReturn:
        super().error(said)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Returns what was understood, and the rest."""
        # argparse would give an optional URL what stands before the first option and no more.
        if self._inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            found, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        self._check_words(found)
        return found, rest

    def _check_words(self, found: argparse.Namespace) -> None:
        """Refuses a URL that stands where another word does: that one is missing behind it."""
        words = [each for each in self._get_positional_actions() if each.dest != "url"]
        if getattr(found, "url", "") is None and any(
            _OF_A_LEDGER.match(str(getattr(found, each.dest))) for each in words
        ):
            missing = " ".join(str(each.metavar) for each in words)
            self.error(f"behind the URL of a ledger belongs: {missing}")


class JsonParser(Parser):
    """One that says in JSON what it did not understand, as commands do of what they cannot do."""

    def _refuse(self, said: str) -> NoReturn:
        self.exit(MISUNDERSTOOD, json.dumps({"error": "Misunderstood", "message": said}) + "\n")


_QUOTING = re.compile(
    "(unrecognized arguments|invalid choice|explicit argument|ambiguous option).*", re.S
)

_OF_A_LEDGER = re.compile("(sqlite|postgres|postgresql):/|memory:$")


def add_command(
    commands: Commands, name: str, *, help: str, about: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Adds a command, with what all of them have; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=about,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_output(parser)
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how to answer."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="answer in JSON, an object a line, for machines"
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set",
    )


def add_url(parser: argparse.ArgumentParser) -> None:
    """Adds the URL of a ledger, which comes first, or from the environment."""
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help=f"of the ledger, such as sqlite:///app.db; else that of {URL_VARIABLE}",
    )
    parser.set_defaults(refuse=parser.error)


def add_events(parser: argparse.ArgumentParser, *, why: str) -> None:
    """Adds where the event classes are."""
    parser.add_argument(
        "--events",
        metavar="MODULE[:NAME]",
        help=f"the event classes, {why}: of a module, or a list in it; else that of {EVENTS}",
    )


EVENTS = "EVERLOG_EVENTS"


def add_selection(parser: argparse.ArgumentParser, *, stream: bool = True) -> None:
    """Adds which records."""
    group = parser.add_argument_group("which records")
    which = group.add_mutually_exclusive_group()
    if stream:
        which.add_argument("--stream", metavar="NAME", help="of one stream")
    which.add_argument("--prefix", metavar="TEXT", help="of the streams whose names begin so")
    which.add_argument("--relation", metavar="KEY", help="of the streams in a relation")
    group.add_argument(
        "--type", metavar="TYPE", action="append", dest="types", help="of a type; may be repeated"
    )
    group.add_argument(
        "--after", metavar="PLACE", type=place, help="behind a position or a resume token"
    )


def place(text: str) -> int | str:
    """Reads a position, or takes what may be a resume token."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else text


def whole(text: str) -> int:
    """Reads a whole number from 0."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("it is no whole number from 0")
    return int(text)


def some(text: str) -> int:
    """Reads a whole number from 1."""
    if whole(text) == 0:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return int(text)
