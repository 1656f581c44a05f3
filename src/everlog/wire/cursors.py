"""Cursors as text: a place in a hub's history, for a URL, a header, or the id of a sent event.

    812.5f1e...(64 hex characters).0123...(32)[.89ab...(16)]
    |   |                          |           |
    |   |                          |           scope: what was given up to there; may be left out
    |   |                          ledger: the hub's id
    |   chain: the hub's chain at the position
    position

`0` alone is the beginning. Nothing in it is secret. A hub refuses one whose chain it has not, or
which is of another ledger; and one of another scope, as what it left out would be missing.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from everlog.core.taking import BEGINNING, Mark
from everlog.errors import InvalidMessage
from everlog.wire.json_text import MOST


class CursorText(NamedTuple):
    """What a cursor says."""

    mark: Mark
    ledger: str | None = None
    """The hub's ledger id; None only at the beginning."""
    scope_id: str | None = None
    """None: who asks looks by itself whether it is of the scope."""


def scope_id(words: str) -> str:
    """Returns what stands for a scope, as the hub says it in words; empty for the whole log."""
    return "" if not words else hashlib.sha256(words.encode()).hexdigest()[:16]


def write_cursor(mark: Mark, ledger: str, scope: str | None = None) -> str:
    """Returns a cursor as text; `scope` is an id, empty for the whole log, None to leave it out."""
    text = f"{mark.position}.{mark.chain.hex()}.{ledger}"
    return text if scope is None else f"{text}.{scope or _WHOLE}"


def read_cursor(text: str, *, at: str = "cursor") -> CursorText:
    """Returns what a cursor says; raises `InvalidMessage` for what is none."""
    if text in ("", "0"):
        return CursorText(BEGINNING)
    match = _CURSOR(text)
    if match is None or int(match[1]) > MOST:
        raise InvalidMessage(at, "is no cursor; pass what a hub gave, as it was, or 0 to begin")
    scope = match[4]
    mark = Mark(int(match[1]), bytes.fromhex(match[2]))
    return CursorText(mark, match[3], "" if scope == _WHOLE else scope)


_WHOLE = "all"
# In the form that it is written in, and in no other.
_CURSOR = re.compile(
    r"(0|[1-9][0-9]{0,18})\.([0-9a-f]{64})\.([0-9a-f]{32})(?:\.([0-9a-f]{16}|all))?"
).fullmatch
