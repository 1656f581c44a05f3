"""What is stored, the same for everybody: 200 bytes of JSON data, 60 bytes of meta."""

from __future__ import annotations

from typing import TypedDict

import msgspec

TYPE = "bench:noted"

COUNT = 1000
"""So many different events; longer logs hold them again."""
STREAM_OF_1000 = "stream-0"
SNAPSHOTTED = "snapshotted"
"""A stream of 1,000 with a snapshot after the first 990."""
SNAPSHOT_AT = 990


class Fields(TypedDict):
    """The fields of an event."""

    active: bool
    number: int
    owner: str
    text: str


class MetaFields(TypedDict):
    """The fields of what is said about an event."""

    auditor: str
    reason: str


def fields(index: int) -> Fields:
    """Returns the fields of one of the events, which all have the same size."""
    number = COUNT + index
    return {"active": True, "number": number, "owner": f"account-{number}", "text": "x" * 138}


META: MetaFields = {"auditor": "jane.doe", "reason": "measured by the benchmarks"}

INDICES = range(COUNT)
TOTAL = sum(COUNT + index for index in INDICES)
"""What the numbers of all events add up to."""


def stream_of(number: int) -> str:
    """Returns the name of a stream of the prepared log."""
    return f"stream-{number}"


def sizes() -> tuple[int, int]:
    """Returns the bytes of data and of meta, as JSON without white space."""
    return len(msgspec.json.encode(fields(0))), len(msgspec.json.encode(META))
