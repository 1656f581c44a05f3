"""A site: a ledger, what runs over it, and what it is in the eyes of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from everlog.core.record import StoredRecord
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import Append
from everlog.core.snapshot import PutSnapshot, Snapshot, SnapshotKey, seal, unseal
from everlog.core.taking import Keeping, Restamp, Take, Taken
from everlog.errors import EverlogError
from everlog.ports.ledger import Outcome
from everlog.ports.seams import CorrectedClock, Seams
from everlog.sync.edge import Edge
from everlog.sync.forwarding import Forwarding
from everlog.sync.hub import Hub
from everlog.wire.messages import Scope
from tests.simulation.disk import Backup, DiskLedger, WaitingLedger
from tests.simulation.effects import Book, wake_up
from tests.simulation.http import application_over
from tests.simulation.loop import Loop
from tests.simulation.network import HttpWire, Wire
from tests.simulation.relating import RELATION
from tests.simulation.tasks import Task, at_once

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_OFFSET_MS = 400
IN_SCOPE = "s1"
"""How the names of the streams begin that a scoped edge wants."""


class Site:
    """One process at a time, over a disk."""

    def __init__(
        self, world: World, name: str, upstream: str | None, backup: Backup | None = None
    ) -> None:
        """`upstream`: the address of its hub."""
        self.world = world
        self.name = name
        self.upstream = upstream
        self.skew_ms = 0
        self.tasks: list[Task] = []
        self.backups: list[Backup] = []
        self.clock = CorrectedClock(self._now_ms)
        self.seams = Seams(now_ms=self.clock, random_bytes=world.random.randbytes)
        self.boot(backup)

    def boot(self, backup: Backup | None = None) -> None:
        """Starts a process: over what is on the disk, or what is put there."""
        if backup is not None or not hasattr(self, "ledger"):
            self.ledger = DiskLedger(self.seams, backup)
            self.book = Book() if backup is None else backup.book.copied()
        self.clock.ahead_ms = 0  # as a new process has it
        wake_up(self.book)
        secret = self.world.secret
        self._waiting = WaitingLedger(self.seams, self.ledger, self.world.short_pause)
        self.hub = Hub(
            self._waiting,
            self.take_in,
            self.keep,
            self.seams,
            secret=secret,
            max_offset_ms=MAX_OFFSET_MS,
            strict=self.world.strict_prefixes,
            append=self._append_for_edge,
            stable=lambda: self.stable,
        )
        self.application = application_over(self.hub, self.world, secret)
        self.loops: list[Loop] = []
        if self.upstream is not None:
            self.loops.append(self.new_loop())

    def new_loop(self) -> Loop:
        """Returns one more that makes rounds, as another process of this ledger would."""
        assert self.upstream is not None
        wire = (HttpWire if self.world.options.http else Wire)(self, self.upstream)
        piece = self.world.options.piece
        edge = Edge(
            self._waiting,
            self.take_in,
            self.keep,
            wire,
            self.seams,
            piece=piece,
            stamps_anew=self.world.options.stamps_anew,
            scope=self.scope,
            purges=not self.scope.whole,
            needed=self.needed,
        )
        forwarding = Forwarding(self._waiting)
        at_once(forwarding.load())
        return Loop(self, edge, wire, forwarding)

    def crash(self) -> None:
        """Loses what is in memory, wherever its tasks stand."""
        self.world.network.forget(self)
        for task in [*self.tasks]:
            task.end()

    def save(self) -> None:
        """Keeps a copy of the disk."""
        self.backups.append(self.ledger.backed_up(self.book))
        del self.backups[:-4]

    @property
    def stable(self) -> int:
        """Up to which position its history cannot be taken back: what each backup has."""
        positions = (len(backup.tables.records) for backup in self.backups)
        return min(positions, default=len(self.records))

    async def needed(self, positions: Sequence[int]) -> set[int]:
        """Returns where those of some records stand that the subscription has to deal with."""
        await self.world.short_pause()
        open = {self.ledger.tables.by_id[id].position for id in self.book.open}
        needed = {each for each in positions if each > self.book.checkpoint or each in open}
        self.world.counts["needed before it goes"] += bool(needed)
        return needed

    async def take_in(self, request: Take) -> Taken:
        outcome = await self._commit(request)
        assert isinstance(outcome, Taken)
        return outcome

    async def keep(self, request: Keeping | Restamp) -> int:
        outcome = await self._commit(request)
        assert isinstance(outcome, int)
        return outcome

    async def _append_for_edge(self, request: Append) -> Sequence[StoredRecord]:
        return await self.world.strict.append_at(self, request)

    async def _commit(self, request: Take | Keeping | Restamp) -> Outcome:
        world = self.world
        await world.pause()
        slots = world.strict.slots(self, request) if isinstance(request, Take) else {}
        [outcome] = await self.ledger.commit([request])
        world.note_commit(self, request, outcome)
        if isinstance(request, Take) and isinstance(outcome, Taken) and world.options.strict:
            world.strict.note_taken(self, request, outcome, slots)
        if world.chance(0.2) and not isinstance(outcome, EverlogError):
            await self._repeat(request)
        await world.pause()
        if isinstance(outcome, EverlogError):
            raise outcome
        return outcome

    async def _repeat(self, request: Take | Keeping | Restamp) -> None:
        """S11: what has been applied, applied again, changes nothing."""
        before = self.ledger.backed_up(self.book).tables
        await self.ledger.commit([request])
        if self.ledger.tables != before:
            self.world.violated(f"S11 {type(request).__name__} changes {self.name} twice")

    async def fold(self, stream: str, *, with_snapshot: bool) -> str:
        """Returns the state of a stream: what came, in its order, and what is in each register."""
        selection = Selection(streams=(stream,), order=Order.CREATED)
        key = SnapshotKey(f"stream:{stream}", "all", 1, "", "")
        start = await self.ledger.fold_from(selection, key if with_snapshot else None, size=7)
        state, count, last = "", 0, ("", "")
        if start.snapshot is not None:
            self.world.counts["fold from a snapshot"] += 1
            state, count = unseal(start.snapshot), start.snapshot.count
            last = (start.snapshot.created, start.snapshot.id)
        page = start.page
        until = page.selection.until or 0
        while True:
            for record in page.records:
                if record.is_tombstone:
                    self.world.violated(f"S9 {self.name} reads {record.id}, which has no content")
                state += f"{record.id}:{record.data};"
                count, last = count + 1, record.order
            if page.cursor is None:
                break
            page = await self.ledger.read(page.selection, cursor=page.cursor, size=7)
        if with_snapshot and count and self.world.chance(0.5):
            taken = Snapshot(key, until, *last, count, count, 0, state)
            await self.ledger.commit([PutSnapshot(seal(taken), start.unfoldings)])
        return state

    @property
    def records(self) -> list[StoredRecord]:
        """All that it holds, by position."""
        return self.ledger.tables.records

    @property
    def scope(self) -> Scope:
        """What it wants of its hub."""
        options = self.world.options
        if not options.scoped or not self.name.startswith("edge0"):
            return Scope()
        return Scope(relation=RELATION) if options.relate else Scope(prefix=IN_SCOPE)

    def covers(self, stream: str) -> bool:
        """Whether all of a stream is to be here."""
        prefix, relation, _ = self.scope
        if relation is not None and stream not in self.world.relating.members:
            return False
        return stream.startswith(prefix or "")

    def was_given(self, stream: str, scope: str) -> bool:
        """Whether a stream is in a scope that a hub has put into words, if it is what is wanted."""
        prefix, relation, _ = self.scope
        if relation is not None and stream not in self.world.relating.meant(scope):
            return False
        return stream.startswith(prefix or "")

    def may_keep(self, stream: str) -> bool:
        """Whether something has come of a stream: what leaves a scope leaves a tombstone."""
        return self.covers(stream) or stream in self.world.relating.left

    @property
    def counting(self) -> list[StoredRecord]:
        """Those of them in whose place there is no other, by position."""
        replaced = self.replaced
        return [record for record in self.records if record.id not in replaced]

    @property
    def replaced(self) -> dict[str, str]:
        """Of what was stamped anew: by the old id, the new one."""
        return {id: by for id, by in self.ledger.tables.unfolded.items() if by is not None}

    def folded(self, stream: str) -> list[StoredRecord]:
        """What folds have of a stream, by position."""
        tables = self.ledger.tables
        rows = [tables.records[position - 1] for position in tables.by_stream.get(stream, ())]
        return [row for row in rows if row.id not in tables.unfolded]

    @property
    def streams(self) -> list[str]:
        """The streams that it holds something of."""
        return sorted(self.ledger.tables.by_stream)

    def _now_ms(self) -> int:
        return self.world.now_ms + self.skew_ms
