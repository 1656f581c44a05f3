"""Checkpoints: where subscriptions keep how far they have got, beside the read models they write.

One database holds both, so that a checkpoint and what a handler has written move in one
transaction: of SQLite a second file beside the log, or on request the log's own; of PostgreSQL the
database of the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from everlog.ports.effects import Effects, Owing

Values: TypeAlias = Sequence[object] | Mapping[str, object]
"""What is bound to a statement, in the driver's own style: `?` or `:name` in SQLite, `%s` or
`%(name)s` in PostgreSQL."""

FINGERPRINT = "#"
"""What stands in a worker's name before the fingerprint of its handlers."""

ParkedAs = Literal["retrying", "parked", "behind", "skipped", "dropped"]
"""`retrying`: to be tried again by itself; `parked`: waits for a person; `behind`: waits for one of
these in its own stream; `skipped`, `dropped`: given up, kept as a trace, holds nothing up."""


class Tx(Protocol):
    """The transaction in which a checkpoint moves: what is written in it stands exactly once.

    Given to handlers that ask for it, by a parameter of the name `tx`. A `def` handler, which runs
    in a thread, gets `everlog.blocking.Tx`. All of a handler's statements are in it, and nothing of
    them is left if the handler fails. It ends with the handler's return: it is not to be kept.

    >>> projector = Projector()
    >>> @projector.on(EmailSet)
    ... async def keep(record: Record[EmailSet], tx: Tx) -> None:
    ...     await tx.execute("CREATE TABLE IF NOT EXISTS emails (stream PRIMARY KEY, email)")
    ...     values = (record.stream, record.data.root)
    ...     await tx.execute("INSERT OR REPLACE INTO emails VALUES (?, ?)", values)
    ...     print(await tx.fetch("SELECT * FROM emails"))
    >>> async with store.subscription("emails", projector) as subscription:
    ...     await subscription.caught_up()
    [('user-1', 'jane@work.com')]
    """

    async def execute(self, statement: str, values: Values = ()) -> None:
        """Runs a statement that gives nothing.

        It may be carried out later, together with others, in their order: at the latest before the
        next `fetch` and before the commit. If it fails then, the records of the batch are handled
        again one by one, and each statement at once, so that the error is raised here (not in the
        log's own file: there it is raised behind the handler). The values
        are copied.

        Raises the driver's own error where the statement or its values are wrong, `TypeError` at
        once for values that are no sequence and no mapping, `StorageError` where the place fails,
        `MisusedStore` for a statement that would begin or end a transaction or write to the log's
        own tables, and once this one has ended. In the log's own file (`views="same"` of SQLite) a
        handler may wait for nothing but `tx` behind its first `fetch`, and for 50 ms in all: after
        that it is rolled back, and raises `HandlerHeldTransaction`. After a statement that
        has failed nothing of the transaction can be committed, also if the error was caught.
        """
        ...

    async def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        """Runs a statement for each of many values; as `execute`."""
        ...

    async def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement, which sees all that was executed before."""
        ...


class Held(NamedTuple):
    """A slice of a subscription, held by a worker under a lease."""

    slice: int
    fence: int
    """Grows with each holder: whoever has an older one can commit nothing. Never given twice, not
    even to a subscription that was removed and registered again."""
    position: int
    """All of the slice's streams up to here has been dealt with."""
    token: str | None
    """The place of `position` in its history, as a resume token; None at the beginning."""
    clean: bool
    """Whether nobody held it before, or who held it last let go of it; otherwise that one died, or
    was taken for dead."""


class Working(NamedTuple):
    """A worker of a subscription."""

    worker: str
    holds: bool
    """Whether it holds a slice; otherwise it has tried to within the time of a lease."""


class Move(NamedTuple):
    """The step of one slice's checkpoint."""

    slice: int
    fence: int
    before: int
    after: int
    token: str | None


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that was set aside.

    >>> projector = Projector()
    >>> @projector.on(EmailSet)
    ... async def refuse(record: Record[EmailSet]) -> None:
    ...     raise ValueError("no such host")
    >>> async with store.subscription("emails", projector, on_error="park") as subscription:
    ...     await subscription.caught_up()
    >>> [parked] = await store.subscriptions.parked("emails")
    >>> parked.position, parked.stream, parked.status, parked.error
    (2, 'user-1', 'parked', 'ValueError: no such host')
    """

    name: str
    """The subscription."""
    slice: int
    position: int
    stream: str
    id: str
    status: ParkedAs
    tries: int
    """How often it was begun."""
    due_s: float | None
    """In how many seconds it is tried again; None if not by itself."""
    error: str
    """The last error, in words; empty for one that is only behind another."""
    since_s: float = 0.0
    """So many seconds ago it was set aside first. Given by `parked`; not taken by `park`."""


class Due(NamedTuple):
    """The first record that is held up in a stream: the only one of it that may be tried."""

    slice: int
    stream: str
    position: int
    tries: int
    due_s: float | None
    """In how many seconds, 0 or less: now; None: it waits for a person."""


@dataclass(frozen=True, slots=True)
class SliceStatus:
    """What is known of one slice of a subscription."""

    name: str
    slice: int
    slices: int
    position: int
    worker: str | None
    """Who holds it; None for nobody."""
    lease_s: float | None
    """For how many more seconds; below 0: it has run out."""
    moved_s: float
    """So many seconds ago its checkpoint has moved."""
    error: str
    """Why its last worker stopped; empty for no failure, and once its checkpoint has moved on."""
    parked: int
    retrying: int
    behind: int
    version: int = 1
    """Of the projection that is run under this name."""


class Checkpointing(Owing, Protocol):
    """One transaction of a worker: handlers' writes, checkpoints, parked records, and effects."""

    @property
    def tx(self) -> Tx:
        """What handlers write with."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What has failed in it, also if a handler has caught that; nothing of it is committed."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether what is asked of it waits for others, so that its time is not the handler's."""
        ...

    def eager(self) -> None:
        """From now on each statement is carried out at once.

        Where appends would wait for that, it changes nothing.
        """
        ...

    def full(self) -> bool:
        """Returns whether it should end with the record at hand, as others wait for its end.

        Raises `HandlerHeldTransaction` if it was rolled back meanwhile, for the same reason.
        """
        ...

    async def move(self, name: str, moves: Sequence[Move]) -> None:
        """Moves checkpoints by compare-and-set on fence and position.

        Raises `LeaseLost` if one of them is not as expected, or was let go of; then nothing of the
        transaction is committed. A lease that has run out is still one, until somebody else claims
        the slice. `before == after` checks the fence alone, and holds it to the commit.
        """
        ...

    async def park(self, parked: Sequence[Parked]) -> None:
        """Sets records aside, or says anew how they are set aside (by name and position).

        `due_s` counts from now; `since_s` is not looked at.
        """
        ...

    async def unpark(self, name: str, position: int) -> None:
        """Takes a record out that has been handled after all."""
        ...

    async def swap(
        self,
        name: str,
        *,
        fences: Mapping[int, int],
        rebuilt: str,
        rebuilt_fences: Mapping[int, int],
        kept: str,
    ) -> None:
        """Puts one subscription in the place of another, which is kept under a third name.

        What was `name` is `kept` from then on, and what was `rebuilt` is `name`: checkpoints,
        versions and records that are set aside. Nobody holds any of it, and no fence that was given
        for it before is good for anything. What was there as `kept` is forgotten. No handler's
        statement may come behind it.

        Raises `LeaseLost` unless all slices of both are held under these fences; then nothing of
        the transaction is committed.
        """
        ...


class Checkpoints(Effects, Protocol):
    """The checkpoints of one ledger, its effects, and the database of its read models.

    All times are the database's: leases are compared with one clock. Methods raise `StorageError`
    where the place fails, `StoreClosed` after `close`.
    """

    async def register(
        self, name: str, *, slices: int, position: int, token: str | None, version: int = 1
    ) -> int:
        """Makes the checkpoints of a subscription where there are none; returns how many slices.

        One that is there stays as it is, with as many slices as it has. Raises `OtherVersion` if it
        is of another version.
        """
        ...

    async def claim(
        self, name: str, worker: str, *, ttl_s: float, most: int, version: int = 1
    ) -> Sequence[Held]:
        """Takes up to so many slices that nobody holds, or whose lease has run out, lowest first.

        Each gets a new fence, greater than all before. Two workers that claim at the same time
        never get the same slice. With `most=0` it only says that the worker is there, see
        `workers`.

        None at all while a worker with another fingerprint, which is what stands behind `#` in its
        name, holds one under a lease that has not run out, or is committing. If there is none, what
        others with another one held can be moved by nobody any more, also where it is not taken. A
        name without `#` has no fingerprint: it neither waits nor is waited for.

        Raises `OtherVersion` if the subscription is of another version; then nothing is taken.
        """
        ...

    async def seize(self, name: str, worker: str, *, ttl_s: float) -> Sequence[Held]:
        """Takes all slices of a subscription, of any version, whoever holds them.

        A transaction that is being committed by who holds one is waited for; what comes later under
        another fence is not committed. Otherwise as `claim`.
        """
        ...

    async def renew(
        self, name: str, worker: str, fences: Mapping[int, int], *, ttl_s: float
    ) -> frozenset[int]:
        """Prolongs leases to so many seconds from now; returns the slices that are still held.

        By slice and fence; also one that has run out, if nobody has claimed it since.
        """
        ...

    async def release(self, name: str, fences: Mapping[int, int], *, error: str = "") -> None:
        """Lets go of slices, for the next worker to take at once.

        The tries that `attempt` has counted in them are forgotten: they did not end in a crash.
        What is held under another fence is left alone. A worker that has let go of all its slices
        is not among the `workers` until it claims again.
        """
        ...

    async def workers(self, name: str) -> Sequence[Working]:
        """Returns who holds a slice, or has tried to within the time of a lease, sorted."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Checkpointing]:
        """Begins a transaction: committed at the end of the block, rolled back if that raises.

        On commit it is as durable as an append. Raises, at the end, what the commit raises, and
        what has failed in it if the block has caught that. Methods that write are not to be called
        from inside the block: they would wait for it, and raise `MisusedStore` where that is seen.
        """
        ...

    async def attempt(self, name: str, slice: int, fence: int, position: int) -> int:
        """Counts a try of the record at a position before it is made; returns the count.

        In a transaction of its own, so that a try that kills the process is counted. The count is
        kept for one position of a slice: another position begins at 1. Raises `LeaseLost`.
        """
        ...

    async def due(self, name: str, slices: Sequence[int]) -> Sequence[Due]:
        """Returns the first held-up record of each stream, of these slices, in order of position.

        One that was behind another, and is the first now, is due now.
        """
        ...

    async def parked(
        self,
        name: str | None = None,
        *,
        stream: str | None = None,
        limit: int = 1000,
        held_up: bool = False,
    ) -> Sequence[Parked]:
        """Returns records that are set aside, all kinds, in order of name and position.

        `held_up`: without the traces, of which there may be many.
        """
        ...

    async def retry(self, name: str, *, stream: str | None, position: int | None) -> int:
        """Makes parked records due now, with their tries forgotten; returns how many.

        They are `retrying` then. All that are `parked` in the subscription, those of a stream, or
        the one at a position.
        """
        ...

    async def drop(self, name: str, *, stream: str | None, position: int | None) -> int:
        """Gives parked and retrying records up; a trace stays, as `dropped`. Returns how many.

        What waits behind them in their streams is due then. Selected as in `retry`.
        """
        ...

    async def needed(self, positions: Sequence[int]) -> Sequence[int]:
        """Returns those of some positions whose records a subscription has yet to deal with.

        One of its checkpoints stands before them, they are held up (`retrying`, `parked`,
        `behind`), or an effect of them is unfinished. Also of a subscription that nobody runs, and
        of a version that is rebuilt or kept. Not of leases, whose names begin with `$`. As of one
        moment.
        """
        ...

    async def statuses(self) -> Sequence[SliceStatus]:
        """Returns what is known of all subscriptions, in order of name and slice."""
        ...

    async def remove(self, name: str) -> bool:
        """Deletes all that is kept of a subscription nobody runs: checkpoints, traces, effects.

        Returns whether there was one. Raises `MisusedStore` while a lease of it holds.
        """
        ...

    def close(self) -> Awaitable[None]:
        """Lets go of everything. May be called again."""
        ...
