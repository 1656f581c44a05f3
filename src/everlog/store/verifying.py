"""Verifying: the whole log is computed again and compared with what is stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from everlog.core.chain import FLAGS, GENESIS, HASH_BYTES, HYDRATED, ORPHAN, RESTAMPED, link
from everlog.core.record import StoredRecord, computed_hash, tombstone_of
from everlog.core.selection import Selection
from everlog.core.sequencer import EMPTY, Head, Identity
from everlog.core.stamp import is_stamp
from everlog.errors import CorruptLedger, StorageFailed
from everlog.ports.ledger import Ledger, Problem
from everlog.store.own_thread import OwnThread

MAX_PROBLEMS = 100
"""Verification stops counting here: a chain that broke once says little after that."""

# What an adapter raises that stumbles over what is stored. Not among them: what says nothing about
# it, such as a store that is closed or a lock that another process holds.
DAMAGE = (
    CorruptLedger,
    StorageFailed,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
)

_END = 2**63 - 1
"""The last position that there could be: how far to read where the head does not say."""


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
    tombstones: int = 0
    """Of how many of them the content went, so that their hash was taken as it is stored."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


async def verify(ledger: Ledger, progress: Callable[[int, int], None] | None) -> Verification:
    """Computes every hash, the chain and all that follows from them again.

    Damage is reported, wherever it is, and not raised.
    """
    check = _Check(ledger.identity)
    check.own()
    try:
        check.begin(await ledger.head())
    except DAMAGE as error:
        check.found(None, f"the head cannot be read: {error}")
    # As if a first page had fixed its end: that asks for the head, which may be what is damaged.
    selection, cursor = Selection(until=check.until, resolved=True, tombstones=True), None
    async with OwnThread() as thread:
        while True:
            try:
                page = await ledger.read(selection, cursor=cursor, size=2_000)
            except DAMAGE as error:
                await _find_unreadable(ledger, check, error)
                break
            await thread.run(check.page, page.records)
            if progress is not None:
                progress(check.count, check.count if check.head is None else check.head.position)
            selection, cursor = page.selection, page.cursor
            if cursor is None:
                check.end()
                break
    try:
        check.problems.extend(await ledger.check())
    except DAMAGE as error:
        check.found(None, f"the storage cannot be checked: {error}")
    problems = tuple(check.problems[:MAX_PROBLEMS])
    return Verification(check.count, check.chain.hex(), problems, check.tombstones)


async def _find_unreadable(ledger: Ledger, check: _Check, first: Exception) -> None:
    """Goes on record by record up to the first that cannot be read."""
    while check.position < check.until:
        after = check.position
        here = Selection(after=after, until=after + 1, resolved=True, tombstones=True)
        try:
            page = await ledger.read(here, size=1)
        except DAMAGE as error:
            check.found(check.position + 1, f"cannot be read: {error}")
            return
        if not page.records:
            break
        check.page(page.records)
    # One by one they can be read: what is broken is what leads from one to the next.
    check.found(check.position + 1, f"cannot be read from here on: {first}")


@dataclass(slots=True)
class _Check:
    identity: Identity
    head: Head | None = None
    until: int = _END
    count: int = 0
    tombstones: int = 0
    position: int = 0
    chain: bytes = GENESIS
    recorded: str = ""
    versions: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[Problem] = field(default_factory=list[Problem])
    strange: set[str] = field(default_factory=set[str])
    """What has been said of this ledger's identity: it is the same for every record."""

    def own(self) -> None:
        """Checks the form of what the ledger says of itself."""
        for name, length in (("ledger", 32), ("node", 16), ("epoch", 16)):
            value: object = getattr(self.identity, name)
            if not (isinstance(value, str) and len(value) == length and _is_hex(value)):
                name = "id" if name == "ledger" else name
                self.found(None, f"the ledger's {name} is not {length} hex characters")

    def begin(self, head: Head) -> None:
        """Takes the head that the records are to lead to, as far as it can be one."""
        if type(head.position) is not int:
            self.found(None, "the head's position is no number")
            return
        self.head, self.until = head, head.position
        if type(head.chain) is not bytes or len(head.chain) != HASH_BYTES:
            self.found(None, f"the head's chain is not {HASH_BYTES} bytes")
        if not is_stamp(head.clock):
            self.found(None, "the head's clock is no stamp")

    def page(self, records: Sequence[StoredRecord]) -> None:
        """Checks the next records."""
        for record in records:
            try:
                self._record(record)
            except DAMAGE as error:
                self.found(self.position, f"cannot be checked: {error}")

    def end(self) -> None:
        """Checks that the head is that of the last record."""
        if self.head is None:
            return
        if self.count != self.head.position:
            self.found(None, f"{self.head.position} records are counted, {self.count} are there")
            return
        if self.chain != self.head.chain:
            self.found(None, "the head's chain is not the chain of the last record")
        # Every recording moves the clock, and nothing else does.
        if self.head.clock != (self.recorded or EMPTY.clock):
            self.found(None, "the head's clock is not at the last recording")

    def found(self, position: int | None, what: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(position, what))

    def _record(self, record: StoredRecord) -> None:
        self.count += 1
        at, last = record.position, self.position
        self.position = at
        if at != last + 1:
            self.found(at, f"follows position {last}: something is missing before it")
        orphan = type(record.flags) is int and bool(record.flags & ORPHAN)
        version = self.versions.get(record.stream, 0) + (not orphan)
        if record.version != version:
            self.found(at, f"has version {record.version} in its stream, expected {version}")
        if type(record.version) is int:
            self.versions[record.stream] = record.version
        if record == tombstone_of(record):
            self.tombstones += 1  # the chain still tells if its hash was changed
        else:
            self._hash(record)
        try:
            chain = link(self.chain, record.hash, version=record.version, flags=record.flags)
        except DAMAGE:
            chain = b""
        if chain != record.chain:
            self.found(at, "the chain breaks here")
        if type(record.chain) is bytes:
            self.chain = record.chain  # so that one break is one finding, and not all after it
        if record.flags & ~FLAGS:
            self.found(at, f"has unknown flags {record.flags}")
        self._times(record)

    def _hash(self, record: StoredRecord) -> None:
        try:
            hashed = computed_hash(record)
        except DAMAGE:
            hashed = b""
        if hashed != record.hash:
            self.found(record.position, "its content or envelope does not match its hash")

    def _times(self, record: StoredRecord) -> None:
        """Checks what no hash holds: when it was recorded, and by whose clock."""
        at = record.position
        # A clock that ran ahead is set back where its events are stamped anew.
        before = "" if record.flags & RESTAMPED else self.recorded
        if not is_stamp(record.recorded) or record.recorded <= before:
            self.found(at, "its time of recording is not after the one before it")
        elif record.recorded[16:] != self.identity.node:
            self._once(at, "was recorded by another node than the ledger's")
        if is_stamp(record.recorded):
            self.recorded = record.recorded
        if record.flags & HYDRATED:
            if record.recorded <= record.created:
                self.found(at, "was recorded before it was created")
            return
        # Born here. Born in this ledger, whatever became of its epoch: only that is renewed.
        if record.recorded != record.created:
            self.found(at, "was born here, but not recorded when it was created")
        if record.origin != self.identity.ledger:
            self._once(at, "was born here, but its origin is another ledger")

    def _once(self, position: int, what: str) -> None:
        if what not in self.strange:
            self.strange.add(what)
            self.found(position, what)


_is_hex = re.compile(r"[0-9a-f]*").fullmatch
