"""The worker: reads on from a checkpoint, runs handlers, moves the checkpoint with their writes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from everlog.core.event import Registry
from everlog.core.record import Record
from everlog.core.selection import Selection
from everlog.core.token import ResumeToken, decode, encode
from everlog.errors import (
    CorruptLedger,
    FileReplaced,
    ForkedConnection,
    HandlerFailed,
    HandlerHeldTransaction,
    HandlersLeftBehind,
    LeaseLost,
    MisusedStore,
    StorageError,
    StorageFailed,
    StoreClosed,
    WrongEventLoop,
)
from everlog.ports.checkpoints import Checkpointing, Checkpoints, Parked, ParkedAs
from everlog.ports.effects import Effect
from everlog.ports.ledger import Ledger
from everlog.subscriptions.beginning import Beginning
from everlog.subscriptions.carrying_out import CarryingOut
from everlog.subscriptions.effects import AppendOutcome
from everlog.subscriptions.feed import Feed
from everlog.subscriptions.fingerprint import fingerprint_in
from everlog.subscriptions.handlers import Handlers
from everlog.subscriptions.holding import Holding, keep
from everlog.subscriptions.obligations import Obligations
from everlog.subscriptions.pages_ahead import FeedPage, PagesAhead
from everlog.subscriptions.parking import Parking, parked, text_of
from everlog.subscriptions.performing import Performing
from everlog.subscriptions.policies import retry
from everlog.subscriptions.slices import slice_of

BATCH = 500
"""Records of one transaction, at most."""
BATCH_S = 0.5
"""After so many seconds a transaction takes no more records."""
EMPTY_S = 1.0
"""So often, in seconds, a checkpoint moves past what was not selected."""
IDLE_S = 5.0
"""How long a wait for new records lasts, in seconds, before there is a look at everything else."""
STREAM_AT_ONCE = 100
"""Held-up records of one stream that are tried before the others have their turn."""
DEATHS = 3
"""A record is tried so often, at least, before it is taken for what killed its workers."""
LONGEST_PAUSE_S = 5.0
"""Between two attempts to go on, while the database cannot be reached."""

_NOT_THE_HANDLERS = (
    LeaseLost,
    StorageError,
    StoreClosed,
    ForkedConnection,
    WrongEventLoop,
    HandlersLeftBehind,
)
"""What ends a transaction without being a failure of what was handled in it."""

_FOR_GOOD = (FileReplaced, CorruptLedger)
"""After which this worker can never go on, as it will not pass by itself."""

_log = logging.getLogger("everlog")


Item = tuple[int, Record[Any]]
"""A record that is to be dealt with, behind its slice. No named tuple, as it is for each record."""


class _Place(NamedTuple):
    """Where a checkpoint can stand."""

    position: int
    token: str | None


class Worker:
    """One worker of a subscription. It ends when it is told to, or by what it cannot go on from."""

    def __init__(
        self,
        ledger: Ledger,
        checkpoints: Checkpoints,
        registry: Registry,
        *,
        name: str,
        handlers: Handlers,
        policy: retry,
        slices: int,
        ttl_s: float,
        worker: str,
        obligations: Obligations,
        beginning: Beginning,
        effects_at_once: int,
        append: AppendOutcome,
        version: int = 1,
    ) -> None:
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._registry = registry
        self._name = name
        self._handlers = handlers
        self._policy = policy
        self._slices = slices
        self._ttl_s = ttl_s
        self._stopping = asyncio.Event()
        self._progress = asyncio.Event()
        self.news = 0
        """How often there was something new to say of it: what `progress` is asked with."""
        self._careful = 0
        """So many of the next records are dealt with one by one, as a try of one may kill us."""
        self._seen_to = 0
        self._seen_fences: dict[int, int] = {}
        """What was held when it began to see to that."""
        self._moved_at = 0.0
        self._broke = (0, 0)
        """The position in whose handling the place failed last, and how often in a row."""
        self.holding = Holding(
            checkpoints, name, worker, slices=slices, ttl_s=ttl_s, version=version
        )
        self.parking = Parking(checkpoints, name)
        self._obligations = obligations
        self._beginning = beginning
        self._waits_for: frozenset[str] = frozenset()
        """The fingerprints of those with other handlers that it was said to wait for."""
        self._failure: Exception | None = None
        """What an effect has stopped it with."""
        carrying_out = CarryingOut(
            ledger,
            checkpoints,
            registry,
            name=name,
            obligations=obligations,
            policy=policy,
            holding=self.holding,
            append=append,
            calling=handlers.calling,
        )
        self._performing = Performing(
            checkpoints,
            carrying_out,
            self.holding,
            name=name,
            most=effects_at_once,
            failed=self._effect_failed,
        )

    def stop(self) -> None:
        """Tells it to end after the record and the effects at hand; what is done is committed."""
        self._stopping.set()
        self._performing.stop()

    def look_again(self) -> None:
        """Tells it that what is held up may be due now."""
        self.parking.look_soon()
        self._performing.look_soon()
        self._say_news()

    @property
    def dealt_with(self) -> int | None:
        """Up to where everything has been dealt with; None unless all slices are held here."""
        # While it begins again with what it took over, it has seen to nothing of that yet.
        if self.holding.whole and self.holding.fences == self._seen_fences:
            return self._seen_to
        return None

    def _say_news(self) -> None:
        self.news += 1
        self._progress.set()

    async def progress(self, since: int, timeout_s: float) -> None:
        """Returns once there is more to say of it than with `news` at `since`, or after the time.

        At once, if that came while it was asked for: nobody misses it between a look and the wait.
        """
        if self.news != since:
            return
        self._progress.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._progress.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Works until `stop`.

        Raises `HandlerFailed` where that stops it, `LogDiverged`, `FileReplaced`, `CorruptLedger`;
        `OtherVersion` once another version is live; `HandlersLeftBehind`.
        """
        failures = 0
        error = ""
        performing = asyncio.create_task(self._performing.run())
        moved_at = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    if await self._claim():
                        await self._work()
                    failures = 0
                except _FOR_GOOD:
                    raise
                except LeaseLost:
                    # Another one goes on; nothing of what is open was committed.
                    await self._let_go()
                except StorageError as storage_error:
                    failures = 1 if self._moved_at > moved_at else failures + 1
                    moved_at = self._moved_at
                    if failures > 1:  # perhaps it is one record that breaks it: see `_one`
                        self._careful = BATCH
                    _log.warning(
                        "subscription %r cannot go on for now, and tries again: %s",
                        self._name,
                        storage_error,
                    )
                    await self._let_go()
                    await self._pause(min(LONGEST_PAUSE_S, 0.05 * 2 ** min(failures, 10)))
            if self._failure is not None:
                raise self._failure
            await self._end_effects()
        except Exception as unexpected:
            error = text_of(unexpected)
            await self._end_effects()
            raise
        finally:
            performing.cancel()
            await asyncio.shield(asyncio.ensure_future(self._performing.end()))
            self._handlers.close()
            await asyncio.shield(asyncio.ensure_future(self._let_go(error)))

    def _effect_failed(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.stop()

    async def _end_effects(self) -> None:
        """Waits for the effects at hand, with their leases renewed."""
        self._performing.stop()
        if self._performing.is_busy:
            keeping = asyncio.create_task(keep(self.holding, self._renewal_failed))
            try:
                await self._performing.performed()
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])

    async def _let_go(self, error: str = "") -> None:
        with suppress(StorageError, MisusedStore):  # the leases run out by themselves
            await self.holding.release(error=error)
        self.holding.forget()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _claim(self) -> bool:
        """Takes a share of the slices; returns whether there is anything to work on."""
        await self._take_share()
        if not self.holding.slices:
            await self._say_it_waits()
            await self._pause(min(1.0, self._ttl_s / 3))
            return False
        self._waits_for = frozenset()
        return True

    async def _say_it_waits(self) -> None:
        """Warns, once, that it waits for workers with other handlers."""
        others = frozenset(map(fingerprint_in, self.holding.others))
        if others and others != self._waits_for:
            _log.warning(
                "subscription %r: this worker waits, as others run it with other handlers: %s%s; "
                "it goes on by itself when they have stopped; to run both, use another name, or "
                "version=2 and store.rebuild",
                self._name,
                ", ".join(self.holding.others),
                await self._beginning.unlike(),
            )
        self._waits_for = others

    async def _take_share(self) -> bool:
        """Takes what is due to one of so many workers, or lets go; returns whether it took some."""
        self._performing.stay()
        held_before = self.holding.slices
        taken = await self.holding.claim(self._performing.may_leave)
        if taken:  # before anything else, as `dealt_with` may be asked for
            self._seen_to = min(self._seen_to, *(held.position for held in taken))
            if self._obligations.has_handlers and not held_before:
                self._obligations.begin(await self._beginning.of(self.holding))
            await self._performing.claimed(taken)
        if any(not held.clean for held in taken):
            self._careful = BATCH
        # Every checkpoint is of this log, or nothing is read: another one has other records there.
        for position, token in {(held.position, held.token) for held in taken}:
            if token is not None:
                await self._ledger.read(
                    Selection(after=position, limit=1, seen=decode(token)), size=1
                )
        if taken:
            await self.parking.look(self.holding.slices, at_once=True)
        return bool(taken)

    async def _work(self) -> None:
        """Works on what is held, until that changes."""
        held = min(self.holding.all, key=lambda held: held.position)
        selection = Selection(
            types=self._handlers.types,
            after=held.position,
            seen=None if held.token is None else decode(held.token),
        )
        pages = PagesAhead(Feed(self._ledger, selection, size=BATCH))
        self._seen_to, self._seen_fences = held.position, self.holding.fences
        keeping = asyncio.create_task(keep(self.holding, self._renewal_failed))
        stopping = asyncio.create_task(self._stopping.wait())
        # One slice cannot be shared: who comes later waits until nobody has it.
        share_at = math.inf if self._slices == 1 else _now() + self._ttl_s / 3
        try:
            while not self._stopping.is_set() and self.holding.slices:
                if _now() >= share_at:
                    if await self._take_share():
                        return  # to begin again, from the lowest checkpoint of what is held now
                    share_at = _now() + self._ttl_s / 3
                await self.parking.look(self.holding.slices)
                await self._try_again()
                page = await self._next(pages, stopping, share_at)
                if page is not None:
                    await self._deal_with(page)
        finally:
            keeping.cancel()
            stopping.cancel()
            await asyncio.wait([keeping, stopping, *pages.end()])

    def _renewal_failed(self, error: Exception) -> None:
        _log.warning("the lease of subscription %r was not renewed: %s", self._name, error)

    async def _next(
        self, pages: PagesAhead, stopping: asyncio.Task[Any], share_at: float
    ) -> FeedPage | None:
        wait_s = min(IDLE_S, max(0.0, share_at - _now()))
        held_up_s = self.parking.next_in_s
        if held_up_s is not None:
            wait_s = min(wait_s, held_up_s)
        if any(held.position < self._seen_to for held in self.holding.all):
            wait_s = min(wait_s, EMPTY_S)
        step = pages.step(wait_s)
        await asyncio.wait([step, stopping], return_when=asyncio.FIRST_COMPLETED)
        return pages.take() if step.done() else None

    async def _deal_with(self, page: FeedPage) -> None:
        records = page.records
        end = _Place(page.position, None if page.token is None else encode(page.token))
        registry, slices, holds = self._registry, self._slices, self.holding.holds
        items: list[Item] = []
        for stored in records:
            slice = 0 if slices == 1 else slice_of(stored.stream, slices)
            if holds(slice, stored.position):
                items.append((slice, Record(stored, registry)))
        done = 0
        while done < len(items) and not self._stopping.is_set():
            await self._wait_until_safe()
            if self._careful:
                await self._one(*items[done])
                self._careful -= 1
                done += 1
            else:
                done += await self._together(items[done:], end)
        if done == len(items):
            await self._move_past(end)
            self._seen_to = max(self._seen_to, end.position)
        elif done:
            self._seen_to = max(self._seen_to, items[done - 1][1].position)
        self._say_news()

    async def _wait_until_safe(self) -> None:
        """Goes on only while the leases surely hold; raises `LeaseLost` if one does not."""
        if not self.holding.is_safe and not await self.holding.renew():
            raise LeaseLost(f"a lease of subscription {self._name!r} has run out")

    async def _together(self, items: Sequence[Item], end: _Place | None) -> int:
        """Deals with several records in one transaction; returns how many it got to.

        `end`: where the checkpoint is when they all are dealt with; at the last one, if None.
        """
        done = 0
        handled = False
        until = _now() + BATCH_S
        now = asyncio.get_running_loop().time
        holds_up, stopping = self.parking.holds_up, self._stopping.is_set
        owes = self._obligations.of if self._obligations.has_handlers else None
        batch = self._handlers.batch(record for _, record in items if not holds_up(record.stream))
        try:
            async with self._checkpoints.transaction() as transaction:
                behind: list[Parked] = []
                owed: list[Effect] = []
                handle, full, tx = batch.handle, transaction.full, transaction.tx
                with self._guarding(transaction):
                    for slice, record in items:
                        if owes is not None:
                            owed += owes(slice, record)
                        if holds_up(record.stored.stream):
                            behind.append(parked(self._name, slice, record, "behind"))
                        else:
                            await handle(record, tx)
                        is_full = full()
                        done += 1
                        if is_full or now() > until or stopping():
                            break
                    await batch.end(tx)
                handled = True
                if behind:
                    await transaction.park(behind)
                await _owe(transaction, owed)
                if end is None or done < len(items):
                    end = self._place_of(items[done - 1][1])
                slices = {slice for slice, _ in items[:done]}
                moves = self.holding.moves(*end, of=slices)
                await transaction.move(self._name, moves)
        except _NOT_THE_HANDLERS:
            raise
        except (HandlerFailed, HandlerHeldTransaction):
            if handled:
                # It took too long to write what they all had to say: half of them, down to one for
                # which that is so by itself.
                first = done // 2
            else:
                # Without the first one that it was about, whose turn is next.
                failed_at = batch.failed_at
                first = next(
                    n for n, (_, record) in enumerate(items) if record.position == failed_at
                )
            dealt_with = await self._together(items[:first], None) if first else 1
            if not first:
                await self._one(*items[0])
            if first < done and not handled:
                # A state of several records: each for itself, or the rest would fail again and
                # again with one record less.
                self._careful = max(self._careful, done + 1 - dealt_with)
            elif first and dealt_with == first and not handled:
                self._careful = max(self._careful, 1)  # it would only fail again with the others
            return dealt_with
        except Exception:
            # A statement that was carried out later, of whichever of them: each for itself.
            self._careful = max(self._careful, done, 1)
            return 0
        self.holding.moved(moves)
        self._performing.owed(owed)
        self._moved_at = _now()
        return done

    async def _one(self, slice: int, record: Record[Any]) -> None:
        if self.parking.holds_up(record.stream):
            await self._set_aside(parked(self._name, slice, record, "behind"), record)
            return
        # Counted before it is made: one that kills its worker counts as well.
        tries = await self._checkpoints.attempt(
            self._name, slice, self.holding.fence(slice), record.position
        )
        if tries > max(self._policy.times, DEATHS):
            died = RuntimeError(f"its worker died in each of {tries - 1} tries")
            await self._failed(slice, record, died, tries=tries - 1)
            return
        moves = self.holding.moves(*self._place_of(record), of=[slice])
        owed = self._obligations.of(slice, record)
        try:
            async with self._checkpoints.transaction() as transaction:
                await self._handle_alone(record, transaction)
                await _owe(transaction, owed)
                await transaction.move(self._name, moves)
        except StorageFailed as error:
            if not self._is_to_blame(record):
                raise
            await self._failed(slice, record, error, tries=max(tries, self._policy.times))
        except _NOT_THE_HANDLERS:
            raise
        except Exception as error:
            await self._failed(slice, record, error, tries=tries)
        else:
            self.holding.moved(moves)
            self._performing.owed(owed)
            self._moved_at = _now()

    async def _handle_alone(self, record: Record[Any], transaction: Checkpointing) -> None:
        """Runs the handlers of one record, each statement at once."""
        transaction.eager()
        batch = self._handlers.batch([record], eager=True)
        with self._guarding(transaction):
            await batch.handle(record, transaction.tx)

    @contextmanager
    def _guarding(self, transaction: Checkpointing) -> Generator[None]:
        """Raises what the place has failed with under handlers as just that."""
        self._handlers.watch.transaction = transaction
        try:
            yield
        except HandlerFailed as error:
            if isinstance(transaction.failure, _NOT_THE_HANDLERS):
                raise transaction.failure from error
            raise
        finally:
            self._handlers.watch.transaction = None

    def _is_to_blame(self, record: Record[Any]) -> bool:
        """Whether the place has failed so often in the handling of a record, and never before it.

        Each time the place has counted the try. What ends its connection, or takes longer than
        anybody waits, would be tried for ever, and hold up all other streams.
        """
        position, count = self._broke
        self._broke = (record.position, count + 1 if position == record.position else 1)
        return self._broke[1] >= max(self._policy.times, DEATHS)

    async def _failed(
        self, slice: int, record: Record[Any], error: Exception, *, tries: int
    ) -> None:
        """Does what the policy says of a record that failed; raises the error if it says stop."""
        status, due_s = self._verdict(tries)
        if status is None:
            raise error
        self._report(record, error, status, tries)
        aside = parked(
            self._name, slice, record, status, tries=tries, due_s=due_s, error=text_of(error)
        )
        await self._set_aside(aside, record)

    def _verdict(self, tries: int) -> tuple[ParkedAs | None, float | None]:
        """Returns as what a record is set aside after so many tries, and when it is due again."""
        if tries < self._policy.times:
            return "retrying", self._policy.pause_s(tries, chance=random.random())  # noqa: S311
        match self._policy.then:
            case "park":
                return "parked", None
            case "skip":
                return "skipped", None
            case "stop":
                return None, None

    def _report(self, record: Record[Any], error: Exception, status: str, tries: int) -> None:
        # The id and no data: what is in an event is nobody's business in a log.
        _log.warning(
            "subscription %r: record %s (position %d) failed in try %d and is %s",
            self._name,
            record.id,
            record.position,
            tries,
            status,
            exc_info=error,
        )

    async def _set_aside(self, aside: Parked, record: Record[Any]) -> None:
        moves = self.holding.moves(*self._place_of(record), of=[aside.slice])
        owed = self._obligations.of(aside.slice, record)  # whatever becomes of its read models
        async with self._checkpoints.transaction() as transaction:
            await transaction.park([aside])
            await _owe(transaction, owed)
            await transaction.move(self._name, moves)
        self.holding.moved(moves)
        self._performing.owed(owed)
        if aside.status in ("retrying", "parked"):
            self.parking.hold_up(aside)

    async def _try_again(self) -> None:
        """Tries what is held up and due, one stream after the other, for a while."""
        until = _now() + BATCH_S
        for due in self.parking.due():
            if self._stopping.is_set() or _now() > until:
                return  # the others have their turn, and this one after them
            await self._wait_until_safe()
            await self._try_stream(due.stream)

    async def _try_stream(self, stream: str) -> None:
        """Tries the held-up records of a stream in order, as long as they succeed."""
        rows = await self._checkpoints.parked(
            self._name, stream=stream, limit=STREAM_AT_ONCE, held_up=True
        )
        for row in rows:
            if row.status == "parked":
                self.parking.hold_up(row)
                return
            if not await self._try_parked(row) or self._stopping.is_set():
                return
        if len(rows) < STREAM_AT_ONCE:
            self.parking.let_go(stream)
        else:
            await self.parking.look(self.holding.slices, at_once=True)

    async def _try_parked(self, row: Parked) -> bool:
        """Tries one record that is held up; returns whether its stream can go on."""
        page = await self._ledger.read(
            Selection(after=row.position - 1, until=row.position), size=1
        )
        record = Record[Any](page.records[0], self._registry)
        standing = [self.holding.standing(row.slice)]
        tries = row.tries + 1
        if tries > max(self._policy.times, DEATHS):
            died = RuntimeError(f"its worker died in each of {row.tries} tries")
            return await self._failed_again(row, record, died, row.tries)
        async with self._checkpoints.transaction() as transaction:
            counted = parked(
                self._name, row.slice, record, "retrying", tries=tries, due_s=0.0, error=row.error
            )
            await transaction.park([counted])
            await transaction.move(self._name, standing)
        try:
            async with self._checkpoints.transaction() as transaction:
                await self._handle_alone(record, transaction)
                await transaction.unpark(self._name, row.position)
                await transaction.move(self._name, standing)
        except _NOT_THE_HANDLERS:
            raise
        except Exception as error:
            return await self._failed_again(row, record, error, tries)
        return True

    async def _failed_again(
        self, row: Parked, record: Record[Any], error: Exception, tries: int
    ) -> bool:
        status, due_s = self._verdict(tries)
        aside = parked(
            self._name,
            row.slice,
            record,
            status or "parked",
            tries=tries,
            due_s=due_s,
            error=text_of(error),
        )
        self._report(record, error, aside.status, tries)
        async with self._checkpoints.transaction() as transaction:
            await transaction.park([aside])
            await transaction.move(self._name, [self.holding.standing(row.slice)])
        if status is None:
            raise error
        if status == "skipped":
            return True
        self.parking.hold_up(aside)
        return False

    async def _move_past(self, end: _Place) -> None:
        """Moves the checkpoint past what was not selected, now and then."""
        moves = self.holding.moves(*end)
        if not moves or _now() - self._moved_at < EMPTY_S:
            return
        async with self._checkpoints.transaction() as transaction:
            await transaction.move(self._name, moves)
        self.holding.moved(moves)
        self._moved_at = _now()

    def _place_of(self, record: Record[Any]) -> _Place:
        identity, stored = self._ledger.identity, record.stored
        token = ResumeToken(identity.ledger, identity.epoch, stored.position, stored.chain)
        return _Place(stored.position, encode(token))


async def _owe(transaction: Checkpointing, owed: Sequence[Effect]) -> None:
    if owed:
        await transaction.owe(owed)


def _now() -> float:
    return asyncio.get_running_loop().time()
