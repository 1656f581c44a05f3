"""The state of an upstream as a row of plain values, for every database alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from everlog.core.taking import Mark, UpstreamState

UpstreamRow = tuple[str, str, str, str, int, str, str]
"""The fields of a state, in their order: past, marks and strict as JSON lists. A mark is
`[position, chain in hex]`."""


def as_row(state: UpstreamState) -> UpstreamRow:
    """Returns the row of a state."""
    marks = [(position, chain.hex()) for position, chain in state.marks]
    return (
        state.upstream,
        state.epoch,
        json.dumps(state.past),
        json.dumps(marks),
        state.settled,
        json.dumps(state.strict),
        state.scope,
    )


def as_state(row: Sequence[Any]) -> UpstreamState:
    """Returns the state of a row; raises `TypeError` for one that is damaged."""
    if tuple(map(type, row)) != (str, str, str, str, int, str, str):
        raise TypeError("the state of an upstream has other kinds of values")
    upstream, epoch, past, marks, settled, strict, scope = row
    try:
        passed = tuple(Mark(int(position), bytes.fromhex(chain)) for position, chain in _of(marks))
        epochs, prefixes = tuple(map(str, _of(past))), tuple(map(str, _of(strict)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"the state of upstream {upstream!r} is no list of places") from error
    if not passed:
        raise TypeError(f"the state of upstream {upstream!r} has no marks")
    return UpstreamState(upstream, epoch, epochs, passed, settled, prefixes, scope)


def _of(text: str) -> list[Any]:
    found: Any = json.loads(text)
    return list(found)
