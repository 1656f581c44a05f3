"""The terminal: a narrow page in plain colours, and a progress bar where somebody looks."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

WIDTH = 80
INDENT = 14


class Paper:
    """Prints a report. Colour only for a terminal, and not against NO_COLOR."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colour = _wants_colour(out)
        fancy = _utf8(out)
        self.arrow = "→" if fancy else "->"
        self.dot = "·" if fancy else "-"
        self._rule = "─" if fancy else "-"
        self._good, self._bad = ("✓", "✗") if fancy else ("ok", "NO")
        self.failures = 0

    def title(self, text: str) -> None:
        """Prints the headline."""
        self._print(f"\n{self._style('1', text)}\n{self._rule * min(WIDTH, width_of(text))}")

    def field(self, name: str, value: str) -> None:
        """Prints one fact about the run."""
        self._print(f"{self._style('2', name.ljust(INDENT))}{value}")

    def step(self, number: int, name: str, text: str, *, seconds: float | None = None) -> None:
        """Begins a step."""
        head = self._style("1", f"{number} {name}".ljust(INDENT))
        took = "" if seconds is None else f"{seconds:.2f} s"
        gap = max(2, WIDTH - INDENT - width_of(text) - len(took))
        self._print(f"\n{head}{text}{' ' * gap if took else ''}{self._style('2', took)}")

    def note(self, text: str) -> None:
        """Prints a line below a step."""
        self._print(" " * INDENT + text)

    def check(self, good: bool, text: str) -> None:
        """Prints what a step had to show, and remembers if it did not."""
        mark = self._style("32", self._good) if good else self._style("1;31", self._bad)
        self.failures += not good
        self._print(f"{' ' * (INDENT - 3)}{mark}{' ' * (3 - len(self._good))}{text}")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table: the first column takes the room that the others, of numbers, leave."""
        widths = [
            max(width_of(cell) for cell in column) for column in zip(*[heads, *rows], strict=True)
        ]
        room = WIDTH - sum(width + 3 for width in widths[1:])
        widths[0] = max(20, min(room, max(widths[0], room)))
        lines = [
            padded(row[0], widths[0])
            + "".join(
                f"   {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
            )
            for row in [heads, *rows]
        ]
        self._print("\n" + self._style("1", lines[0]))
        for line in lines[1:]:
            self._print(line)

    def heading(self, text: str) -> None:
        """Prints the heading of a list."""
        self._print("\n" + self._style("1", text))

    def command(self, what: str, command: str) -> None:
        """Prints a command to type next."""
        self._print(f"  {self._style('2', '# ' + what)}\n  {plain(command)}")

    def line(self, text: str = "") -> None:
        """Prints a line as it is."""
        self._print(text)

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def _print(self, text: str) -> None:
        # A name that the terminal cannot show is no reason to fail.
        encoding = self._out.encoding or "utf-8"
        shown = text.encode(encoding, "replace").decode(encoding)
        print(shown, file=self._out, flush=True)


class Progress:
    """A bar on stderr, if that is a terminal; gone when it is done."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = max(1, total)
        self._shown = 0.0
        self._active = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __call__(self, done: int) -> None:
        """Shows how much is done, at most ten times a second."""
        now = time.monotonic()
        if not self._active or now - self._shown < 0.1:
            return
        self._shown = now
        share = min(1.0, done / self._total)
        columns = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        size = max(5, columns - INDENT - 28)
        full = round(share * size)
        bar = (
            "█" * full + "░" * (size - full)
            if _utf8(sys.stderr)
            else "#" * full + "." * (size - full)
        )
        counted = f"{done:,} of {self._total:,}"
        text = f"{self._name:<{INDENT}}{bar} {share:>4.0%}  {counted}"
        print(f"\r\x1b[K{text[: columns - 1]}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._active:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Returns text that cannot move the cursor or turn the line around."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def width_of(text: str) -> int:
    """Returns how many columns a text takes."""
    return sum(_columns(char) for char in text)


def padded(text: str, width: int) -> str:
    """Returns text that takes just so many columns; of a long one the end, which says more."""
    if width_of(text) > width:
        while width_of(text) > width - 3:
            text = text[1:]
        text = "..." + text
    return text + " " * (width - width_of(text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _utf8(out: TextIO) -> bool:
    return (out.encoding or "").lower().replace("-", "") == "utf8"


def _wants_colour(out: TextIO) -> bool:
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
