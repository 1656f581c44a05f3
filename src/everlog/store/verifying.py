"""Verifying: the whole log is computed again and compared with what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from everlog.core.chain import GENESIS, HYDRATED, OUTDATED, link
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.selection import Selection
from everlog.core.sequencer import Head
from everlog.core.stamp import is_stamp
from everlog.errors import CorruptLedger
from everlog.ports.ledger import Ledger, Problem

MAX_PROBLEMS = 100
"""Verification stops counting here: a chain that broke once says little after that."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `store.verify` found.

    >>> verification = await store.verify()
    >>> verification.ok, verification.records, verification.problems
    (True, 2, ())
    """

    records: int
    """How many records were computed again."""
    chain: str
    """The chain that they give, in hex."""
    problems: tuple[Problem, ...]
    """What contradicts itself; at most 100."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


async def verify(ledger: Ledger, progress: Callable[[int, int], None] | None) -> Verification:
    """Computes every hash, the chain and all that follows from them again."""
    check = _Check(await ledger.head())
    selection, cursor = Selection(until=check.head.position), None
    try:
        while True:
            page = await ledger.read(selection, cursor=cursor, size=2_000)
            await asyncio.to_thread(check.page, page.records)
            if progress is not None:
                progress(check.count, check.head.position)
            selection, cursor = page.selection, page.cursor
            if cursor is None:
                break
    except CorruptLedger:
        await _find_unreadable(ledger, check)
    else:
        check.end()
    check.problems.extend(await ledger.check())
    return Verification(check.count, check.chain.hex(), tuple(check.problems[:MAX_PROBLEMS]))


async def _find_unreadable(ledger: Ledger, check: _Check) -> None:
    """Goes on record by record up to the first that cannot be read."""
    while check.position < check.head.position:
        here = Selection(after=check.position, until=check.position + 1)
        try:
            page = await ledger.read(here, size=1)
        except CorruptLedger as error:
            check.found(check.position + 1, f"cannot be read: {error}")
            return
        if not page.records:
            check.found(check.position + 1, "is missing")
            return
        check.page(page.records)


@dataclass(slots=True)
class _Check:
    head: Head
    count: int = 0
    position: int = 0
    chain: bytes = GENESIS
    recorded: str = ""
    versions: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[Problem] = field(default_factory=list[Problem])

    def page(self, records: Sequence[StoredRecord]) -> None:
        for record in records:
            self._record(record)

    def end(self) -> None:
        if self.count != self.head.position:
            self.found(None, f"{self.head.position} records are counted, {self.count} are there")
        elif self.chain != self.head.chain:
            self.found(None, "the head's chain is not the chain of the last record")
        if self.recorded > self.head.clock:
            self.found(None, "the head's clock is behind the last record")

    def found(self, position: int | None, what: str) -> None:
        self.problems.append(Problem(position, what))

    def _record(self, record: StoredRecord) -> None:
        self.count += 1
        at = record.position
        if at != self.position + 1:
            self.found(at, f"follows position {self.position}: something is missing before it")
        self.position = at
        version = self.versions.get(record.stream, 0) + 1
        if record.version != version:
            self.found(at, f"has version {record.version} in its stream, expected {version}")
        self.versions[record.stream] = record.version
        try:
            hashed = computed_hash(record)
        except (TypeError, ValueError, AttributeError):
            hashed = b""
        if hashed != record.hash:
            self.found(at, "its content or envelope does not match its hash")
        if record.flags & ~(HYDRATED | OUTDATED):
            self.found(at, f"has unknown flags {record.flags}")
        if not is_stamp(record.recorded) or record.recorded <= self.recorded:
            self.found(at, "its time of recording is not after the one before it")
        if record.recorded < record.created:
            self.found(at, "was recorded before it was created")
        self.recorded = record.recorded
        try:
            chain = link(self.chain, record.hash, version=record.version, flags=record.flags)
        except (OverflowError, TypeError):
            chain = b""
        if chain != record.chain:
            self.found(at, "the chain breaks here")
        self.chain = record.chain  # so that one break is one finding, and not all after it
