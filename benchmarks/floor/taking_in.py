"""What becomes of records that come from another log, whatever the database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.floor.verifying import hash_of

Row = tuple[Any, ...]
Place = tuple[str, str]
"""`(created, id)`: where a record stands in a fold."""

HYDRATED, OUTDATED = 1, 2
MAX_OFFSET_MS = 60_000


class Here(NamedTuple):
    """What a log holds, under its lock, of what comes in."""

    position: int
    chain: bytes
    clock: int
    newest: Place
    """Of the record that a fold of everything would end with."""
    known: Mapping[str, bytes]
    """The hashes of those that are here already, by id."""
    versions: Mapping[str, int]
    registers: Mapping[str, Place]
    """By stream, as there is one register."""


class TakenIn(NamedTuple):
    """What comes of it."""

    rows: list[Row]
    """Each with whether it is late behind its columns."""
    position: int
    chain: bytes
    clock: int
    registers: dict[str, Place]


def take_in(rows: Sequence[Row], here: Here, node: str) -> TakenIn:
    """Places the records that are new; raises `ValueError` for one that is not what it says."""
    sha256 = hashlib.sha256
    position, chain, clock, newest, known, _, _ = here
    versions, registers = dict(here.versions), dict(here.registers)
    now_ms = time.time_ns() // 1_000_000
    now, latest = now_ms << 16, (now_ms + MAX_OFFSET_MS) << 16
    taken: list[Row] = []
    seen = dict(known)
    for row in rows:
        id, stream, created, hashed = row[2], row[3], row[10], row[16]
        if hash_of(row) != hashed:
            raise ValueError(f"record {id} was changed")
        if id in seen:
            if seen[id] != hashed:
                raise ValueError(f"record {id} is here with other content")
            continue
        seen[id] = hashed
        theirs = int(created[:16], 16)
        if theirs > latest:
            raise ValueError(f"record {id} is ahead of the clock")
        clock = max(clock, theirs)
        clock = now if now > clock else clock + 1
        position += 1
        versions[stream] = version = versions.get(stream, 0) + 1
        place = (created, id)
        before = registers.get(stream)
        flags = HYDRATED
        if before is not None and before > place:
            flags |= OUTDATED
        else:
            registers[stream] = place
        chain = sha256(
            chain + hashed + version.to_bytes(8, "big") + flags.to_bytes(1, "big")
        ).digest()
        late = place < newest
        if not late:
            newest = place
        # fmt: off
        taken.append(
            (position, version, *row[2:11], f"{clock:016x}{node}", flags, *row[13:17], chain, late)
        )
        # fmt: on
    changed = {stream: registers[stream] for stream in {row[3] for row in taken}}
    return TakenIn(taken, position, chain, clock, changed)
