"""Showing: tables and colours on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from everlog import Record

COLORS = {
    "dim": "2",
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}
GAP = "  "
LEAST = 12
"""A column is cut no shorter than this."""


class Shown:
    """Where a command answers, and how."""

    def __init__(self, options: argparse.Namespace, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self.json: bool = options.json
        self.terminal = self._out.isatty()
        self.colors = wants_colors(options.color, self._out) and not self.json
        self.width = shutil.get_terminal_size().columns if self.terminal else 0

    def line(self, text: str = "") -> None:
        """Writes a line."""
        self._out.write(text + "\n")

    def flush(self) -> None:
        """Has what was written be seen now."""
        self._out.flush()

    def value(self, value: object) -> None:
        """Writes a value as JSON, on a line."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
        self.line(harmless(text))  # within a text of JSON, what that writes means the same

    def color(self, name: str, text: str) -> str:
        """Returns a text in a colour, where there are any."""
        return f"\x1b[{COLORS[name]}m{text}\x1b[0m" if self.colors and text else text

    def facts(self, facts: dict[str, object]) -> None:
        """Writes what is known of one thing, a line each."""
        if self.json:
            self.value(facts)
            return
        names = {name: name.replace("_", " ") for name in facts}
        width = max(map(len, names.values()), default=0)
        for name, value in facts.items():
            said = cell(value)
            if self.terminal:
                self.line(f"{self.color('dim', names[name].ljust(width))}{GAP}{said}")
            else:
                self.line(f"{name}\t{said}")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        none: str = "",
        head: bool = True,
        colors: Sequence[str] = (),
    ) -> None:
        """Writes rows: in columns on a terminal, cut to its width; elsewhere between tabs.

        `none` is said on a terminal where there are no rows; in JSON each row is an object.
        """
        found = [list(row) for row in rows]
        if self.json:
            for row in found:
                self.value(dict(zip(columns, row, strict=True)))
            return
        if not self.terminal:
            if head:
                self.line("\t".join(columns))
            for row in found:
                self.line("\t".join(map(cell, row)))
            return
        if not found:
            if none:
                self.line(self.color("dim", none))
            return
        self._columns(columns, found, head=head, colors=colors)

    def _columns(
        self,
        columns: Sequence[str],
        rows: list[list[object]],
        *,
        head: bool,
        colors: Sequence[str],
    ) -> None:
        titles = [name.replace("_", " ") for name in columns]
        cells = [[cell(value) for value in row] for row in rows]
        numbers = [
            all(isinstance(row[at], (int, float)) or row[at] is None for row in rows)
            for at in range(len(columns))
        ]
        widths = [
            max(wide(title) if head else 0, *(wide(row[at]) for row in cells))
            for at, title in enumerate(titles)
        ]
        # The widest give way first.
        while sum(widths) + len(GAP) * (len(widths) - 1) > self.width and max(widths) > LEAST:
            widths[widths.index(max(widths))] -= 1
        if head:
            line = GAP.join(
                fitted(title, width, right=right)
                for title, width, right in zip(titles, widths, numbers, strict=True)
            )
            self.line(self.color("bold", line.rstrip()))
        for row in cells:
            parts = [
                fitted(text, width, right=right)
                for text, width, right in zip(row, widths, numbers, strict=True)
            ]
            parts[-1] = parts[-1].rstrip()
            for at, name in enumerate(colors):
                if name:
                    parts[at] = self.color(name, parts[at])
            self.line(GAP.join(parts).rstrip())


def wants_colors(choice: str, out: TextIO) -> bool:
    """Whether to write in colours; see https://no-color.org."""
    if choice != "auto":
        return choice == "always"
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def cell(value: object) -> str:
    """Returns a value as it stands in a line: nothing in it moves the cursor or ends the line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, cast("Sequence[object]", value))) or "-"
    if isinstance(value, dict):
        return harmless(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return harmless(str(value))


def harmless(text: str) -> str:
    """Returns a text in which whatever could do something to a terminal is written out.

    Names and data come from anywhere: control characters and what turns the direction of text.
    """
    return _HARMFUL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def wide(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(each)
        else 2
        if unicodedata.east_asian_width(each) in ("W", "F")
        else 1
        for each in text
    )


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Returns a text in exactly so many columns, cut or filled up."""
    if wide(text) > width:
        cut = ""
        for each in text:
            if wide(cut + each) > width - 1:
                break
            cut += each
        text = cut + "…"
    room = " " * (width - wide(text))
    return room + text if right else text + room


def time(moment: datetime) -> str:
    """Returns a moment in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record_facts(record: Record[Any]) -> dict[str, object]:
    """Returns all that is known of a record."""
    data, meta = content_of(record)
    return {
        "position": record.position,
        "stream": record.stream,
        "version": record.version,
        "type": record.type,
        "schema": record.schema,
        "id": record.id,
        "created": record.created,
        "created_at": time(record.created_at),
        "recorded": record.recorded,
        "recorded_at": time(record.recorded_at),
        "register": record.register,
        "origin": record.origin,
        "correlation": record.correlation,
        "causation": record.causation,
        "hydrated": record.hydrated,
        "outdated": record.outdated,
        "orphan": record.orphan,
        "hash": record.hash,
        "data": data,
        "meta": meta,
    }


RECORD_COLUMNS = ("position", "created_at", "stream", "version", "type", "data")
RECORD_COLORS = ("dim", "dim", "cyan", "", "green", "")


def record_row(record: Record[Any]) -> tuple[object, ...]:
    """Returns a record as a row."""
    return (
        record.position,
        time(record.created_at),
        record.stream,
        record.version,
        record.type,
        as_text(content_of(record)[0]),
    )


def content_of(record: Record[Any]) -> tuple[object, object]:
    """Returns data and meta as JSON values; None and None of one whose content went."""
    if not record.stored.data:
        return None, None
    return record.json, record.meta_json


def as_text(value: object) -> str:
    """Returns JSON values as text on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_json(value: Any) -> Any:
    """Returns a state of any kind as JSON values, as well as that goes."""
    from everlog import AggregateRoot

    if isinstance(value, AggregateRoot):
        value = {name: each for name, each in vars(value).items() if name != "log"}
    from pydantic_core import to_json

    # As texts, what JSON has no numbers for.
    return json.loads(to_json(value, fallback=_plain, inf_nan_mode="strings"))


def _plain(value: Any) -> Any:
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return repr(value)
