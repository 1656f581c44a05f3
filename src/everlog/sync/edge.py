"""The edge: brings its ledger into step with a hub's, round by round.

Whatever is lost, repeated or late on the way changes nothing: an answer is applied only where it
goes on from the cursor, and what is not in the copy of the hub's history is offered again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from everlog.core.chain import HYDRATED, RESTAMPED
from everlog.core.stamp import parse_stamp
from everlog.core.taking import (
    BEGINNING,
    MIXED,
    TAKEN,
    Hold,
    Judged,
    Link,
    Mark,
    Note,
    Purge,
    Release,
    Restamp,
    Rewind,
    Take,
    UpstreamState,
    is_stale,
    passed,
)
from everlog.errors import (
    CursorMoved,
    EverlogError,
    InvalidInput,
    StaleUpstream,
    UpstreamFault,
    WrongUpstream,
)
from everlog.ports.ledger import Ledger
from everlog.ports.seams import CorrectedClock, Seams
from everlog.ports.upstreams import Offers, Unconfirmed
from everlog.sync.deciding import (
    check_fork,
    check_piece,
    check_pushed,
    check_welcome,
    to_hold,
    unbroken,
)
from everlog.sync.kinds import as_pulled, as_pushed
from everlog.sync.requests import Keep, TakeIn
from everlog.wire.messages import Asked, Forked, Hello, Offer, Pulled, Scope, Welcome
from everlog.wire.transport import Foreseeing, Telling, Transport

ALL = Scope()

PIECE = 1_000
"""Records that are pulled or offered at a time, at most."""

CHECK_IN_THREAD = 20
"""From so many records on, hashing them is work for a thread."""

MOST_FORESEEN = 3
"""So many pieces that were checked before they were wanted are kept in mind."""

SETTLED_AFTER = 1_000
"""After so many records of its own that need not be looked at again, the ledger notes it."""

MOST_TRIES = 3
"""So often events are looked for that are to be stamped anew, while more of them come."""

MOST_IN_VAIN = 20
"""So many pages of what is outside of the scope, and needed here, a round looks through at most."""

MOST_FORKS = 100
"""So often in one round histories may part; more says that the hub does not know its own."""

Needed = Callable[[Sequence[int]], Awaitable[Collection[int]]]
"""Tells at which of some positions stands what something in this ledger has yet to deal with."""


@dataclass(frozen=True, slots=True)
class Round:
    """What came of a round."""

    pulled: int
    """Records of the hub that were looked at."""
    new: int
    """Those of them that were new here."""
    pushed: int
    """Records that the hub has now, and had not before; also those that are out of the scope, as
    far as is known here."""
    held: int
    """Records that the hub did not take."""
    forks: int
    """How often the hub's history turned out to be another than before."""
    restamped: int
    """How often events were stamped anew, as the clock here ran ahead."""
    in_step: bool
    """Whether nothing was left to be done of what was there when it began: all that the hub had
    is here, and the hub has all that was here and is not held."""
    purged: int = 0
    """Records outside of the scope whose content went: the hub has them."""

    @property
    def idle(self) -> bool:
        """Whether it has changed nothing: another round at once would not, either."""
        return not (self.new or self.pushed or self.held or self.forks or self.restamped)

    def with_next(self, other: Round) -> Round:
        """Returns what came of this and the next round together."""
        return Round(
            self.pulled + other.pulled,
            self.new + other.new,
            self.pushed + other.pushed,
            self.held + other.held,
            self.forks + other.forks,
            self.restamped + other.restamped,
            other.in_step,
            self.purged + other.purged,
        )


class Edge:
    """A ledger and its hub. One call at a time; any number of edges of a ledger may try, as the
    ledger itself lets only one of them go on from each place."""

    def __init__(
        self,
        ledger: Ledger,
        take_in: TakeIn,
        keep: Keep,
        hub: Transport,
        seams: Seams,
        *,
        piece: int = PIECE,
        stamps_anew: bool = True,
        scope: Scope = ALL,
        purges: bool = False,
        needed: Needed | None = None,
    ) -> None:
        """What it is to do.

        - `stamps_anew`: whether what the clock here has stamped too far ahead gets another stamp;
          otherwise it is held until the hub's clock has got there
        - `purges`: whether the content of what is outside of the scope goes, once the hub has it
          for good, and nothing needs it here
        - `needed`: what tells that; None: nothing does
        """
        self._purges = purges
        self._needed = needed
        self._stable = 0
        """Up to this position of the history that the cursor is in, the hub has all for good."""
        self._purged_until = 0
        """Up to this position of the hub's has been looked for what can go."""
        self._stamps_anew = stamps_anew
        self.scope = scope
        """What it wants of the hub."""
        self._ledger = ledger
        self._take_in = take_in
        self._keep = keep
        self._hub = hub
        self._seams = seams
        self._piece = piece
        self.instance = seams.random_bytes(8).hex()
        """Random, of this very object."""
        self._welcome: Welcome | None = None
        self._known: str | None = None
        """The hub that has answered last."""
        self._head: int | None = None
        """At least so far goes its history, as it has said last."""
        self._state: UpstreamState | None = None
        self._looked = 0
        """Nothing is to be offered up to this position here: it is in the copy, or held."""
        self._settled = 0
        """Nothing is unconfirmed up to this position here; noted with the next piece."""
        self.looked_until = 0
        """Up to this position here the last round has looked for what is unconfirmed."""
        self._hub_ahead_ms = 0
        """By how much the hub's clock is ahead of ours."""
        self._is_stopped: Callable[[], bool] = _never
        self._checked: dict[int, tuple[Asked, Pulled]] = {}
        """What has been checked before it was wanted, by its identity."""
        if isinstance(hub, Foreseeing):
            hub.show_to(self._foresee)

    @property
    def hub(self) -> str | None:
        """The ledger id of the hub, as it has said; None before its first answer."""
        return self._known

    @property
    def welcome(self) -> Welcome | None:
        """What the hub has said of itself; None before its first answer."""
        return self._welcome

    @property
    def head(self) -> int | None:
        """At least so far goes the hub's history, as it has said last; None before it has."""
        return self._head

    @property
    def position(self) -> int:
        """Up to where the hub's history is here."""
        return 0 if self._state is None else self._state.cursor.position

    def forget(self) -> None:
        """Begins with a hello again: the line was cut, or the hub is another now."""
        self._welcome = None

    async def round(
        self, *, ask: bool = True, is_stopped: Callable[[], bool] | None = None
    ) -> Round:
        """Pulls what is new, pushes what the hub has not, and pulls that back.

        - `ask`: the hub is asked what is new, whatever it has told by itself until now
        - `is_stopped`: whether it is to end behind the message at hand, in step or not

        Raises `SyncError` where the hub cannot be worked with, and what the ledger raises.
        """
        telling = self._hub if isinstance(self._hub, Telling) else None
        if telling is not None and telling.was_cut():
            self._welcome = None
        if self._welcome is None:
            await self._greet()
        tally = _Tally()
        self._is_stopped = is_stopped or _never
        try:
            await self._pull(tally, None if ask else telling)
            until = await self._push(tally)
            if self._purges and not self.scope.whole:
                await self._purge(tally)
            tally.in_step = await self._is_in_step(until)
        except _Stopped:
            pass
        finally:
            self._checked.clear()
        return tally.round()

    def _check_stopped(self) -> None:
        """Between two messages: raises `_Stopped` if there is to be no other."""
        if self._is_stopped():
            raise _Stopped

    async def _greet(self) -> None:
        identity = self._ledger.identity
        welcome = await self._hub.hello(Hello(identity.ledger, identity.node, self.instance))
        check_welcome(welcome)
        if welcome.ledger == identity.ledger:
            raise WrongUpstream(
                f"ledger {identity.ledger} cannot be its own upstream; if one is a copy of the "
                "other's file, import the records of the copy instead"
            )
        self._stand(await self._ledger.upstreams.state(welcome.ledger))
        self._check_epoch(welcome.ledger, welcome.epoch)
        self._welcome, self._known, self._head = welcome, welcome.ledger, welcome.stable
        clock = self._seams.now_ms
        if (
            isinstance(clock, CorrectedClock)
            and abs(clock.machine() - welcome.now_ms) <= welcome.max_offset_ms
        ):
            clock.ahead_ms = 0  # somebody has set it right
        self._hub_ahead_ms = welcome.now_ms - self._seams.now_ms()

    def _check_epoch(self, hub: str, epoch: str) -> None:
        if self._state is not None and is_stale(self._state, epoch):
            self._welcome = None
            raise StaleUpstream(hub, epoch)

    def _asked(self) -> Asked:
        assert self._welcome is not None
        marks = (BEGINNING,) if self._state is None else self._state.marks
        return Asked(self._ledger.identity.ledger, self._welcome.ledger, marks, self.scope)

    async def _reload(self) -> None:
        """Looks where the ledger stands: somebody else has gone on."""
        assert self._welcome is not None
        self._stand(await self._ledger.upstreams.state(self._welcome.ledger))

    def _stand(self, state: UpstreamState | None) -> None:
        """Begins from a state: what was found before goes with the one before."""
        self._state = state
        self._looked = self._settled = 0
        self._stable = self._purged_until = 0

    # --- pulling ---

    async def _pull(self, tally: _Tally, telling: Telling | None = None) -> None:
        """Pulls until it is up to date; `telling`: who may have told without being asked."""
        while True:
            self._check_stopped()
            asked = self._asked()
            answer: Pulled | Forked | None = None if telling is None else telling.heard(asked)
            if answer is None:
                answer = as_pulled(await self._hub.pull(asked, size=self._piece))
            self._check_epoch(asked.hub, answer.epoch)
            if isinstance(answer, Forked):
                await self._rewind(asked, answer, tally)
                continue
            self._head = max(answer.stable, answer.end.position)
            sparse = not asked.scope.whole
            if self._has_checked(answer, asked):
                pass
            elif len(answer.records) > CHECK_IN_THREAD:
                await asyncio.to_thread(check_piece, answer, asked.cursor, sparse=sparse)
            else:
                check_piece(answer, asked.cursor, sparse=sparse)
            known = "" if self._state is None else self._state.scope
            if answer.scope != known and asked.cursor != BEGINNING:
                if not tally.afresh:
                    # What is given is something else now: all of it is looked at again. Unless
                    # another process has begun with that already.
                    tally.afresh = await self._go_back(asked, answer.epoch, BEGINNING)
                    continue
                # Once in a round: a scope may change faster than its history is read. What is
                # offered here must not wait for it to rest, nor what was in it all the time.
                answer = unbroken(answer, tally.given)._replace(scope=MIXED)
            if not await self._apply(asked, answer, tally):
                tally.given.clear()
                continue
            if tally.afresh:
                tally.given.update((each.stream, each.version) for each in answer.records)
            if answer.up_to_date:
                return

    def _foresee(self, asked: Asked, pulled: Pulled) -> None:
        """Checks a piece before it is wanted, in the thread that has read it.

        So it is done while another is taken in. What is found wrong is found again when it comes.
        """
        with suppress(EverlogError):
            check_piece(pulled, asked.cursor, sparse=not asked.scope.whole)
            if len(self._checked) >= MOST_FORESEEN:
                self._checked.clear()  # what nobody came for
            self._checked[id(pulled)] = asked, pulled

    def _has_checked(self, pulled: Pulled, asked: Asked) -> bool:
        """Whether this very piece was found to be right for what was asked."""
        before, same = self._checked.pop(id(pulled), (None, None))
        return (
            before is not None
            and same is pulled
            and (before.cursor, before.scope) == (asked.cursor, asked.scope)
        )

    async def _apply(self, asked: Asked, pulled: Pulled, tally: _Tally) -> bool:
        """Takes in a piece of history; returns False if the ledger stands elsewhere by now."""
        assert self._welcome is not None
        state = self._state
        if (
            state is not None
            and not pulled.records
            and state.epoch == pulled.epoch
            and state.strict == self._welcome.strict
            and pulled.end == state.cursor
            and pulled.scope == state.scope
            and self._settled < state.settled + SETTLED_AFTER
        ):
            # Nothing to keep, and so nothing that shows whether the ledger still stands here. A hub
            # that was set back to this very place knows nothing of what another process has had.
            if await self._has_moved():
                return False
            self._stable = pulled.stable
            return True
        link = Link(
            asked.hub,
            pulled.epoch,
            pulled.start,
            pulled.end,
            pulled.receipts,
            self._settled,
            self._welcome.strict,
            pulled.scope,
        )
        try:
            taken = await self._take_in(Take(pulled.records, None, link=link))
        except CursorMoved:
            await self._reload()
            return False
        self._state = passed(state, link)
        self._stable = pulled.stable
        tally.pulled += len(taken.judged)
        tally.new += len(taken.new)
        return True

    async def _has_moved(self) -> bool:
        """Whether the ledger stands elsewhere than this was told; then this looks where."""
        assert self._welcome is not None
        state = await self._ledger.upstreams.state(self._welcome.ledger)
        if _place(state) == _place(self._state):
            return False
        self._stand(state)
        return True

    async def _has_passed(self, found: Offers) -> bool:
        """Whether something before what was found is to be offered; then this looks there."""
        assert self._welcome is not None
        if self._looked <= self._settled_here:
            return False
        first = (await self._find(self._welcome.ledger, self._settled_here, 1)).records
        if not first or first[0].record.position >= found.records[0].record.position:
            return False
        self._looked = 0
        return True

    async def _rewind(self, asked: Asked, forked: Forked, tally: _Tally) -> None:
        """Forgets what it knew of the hub behind where histories part: it is offered again."""
        check_fork(forked, asked.marks)
        tally.forks += 1
        tally.given.clear()
        if tally.forks > MOST_FORKS:
            raise UpstreamFault(f"its history has been another one {tally.forks} times")
        await self._go_back(asked, forked.epoch, forked.ancestor)

    async def _go_back(self, asked: Asked, epoch: str, to: Mark) -> bool:
        """Forgets what is known of the hub's history behind a place; returns False if the ledger
        stands elsewhere by now."""
        known = None if self._state is None else self._state.scope
        went = False
        with suppress(CursorMoved):
            await self._keep(Rewind(asked.hub, epoch, asked.cursor, to, known))
            went = True
        await self._reload()
        return went

    # --- pushing ---

    async def _push(self, tally: _Tally) -> int:
        """Offers what is unconfirmed, in order, and pulls each piece back before the next.

        Returns up to which position here: what is written meanwhile is for the next round, as
        otherwise there would be no end where somebody always writes.

        So the cursor of a request stands for all that was offered before it: a hub that has lost
        it does not take what comes after it, and what was answered is no more than a promise.
        """
        await self._release_ripe()
        last, again = 0, False
        until: int | None = None
        while True:
            self._check_stopped()
            asked = self._asked()
            found = await self._find(asked.hub, max(self._looked, self._settled_here), self._piece)
            if not found.records:
                self._looked = found.until
                return found.until if until is None else until
            if until is None:
                until = (await self._ledger.head()).position
            if found.records[0].record.position > until:
                return until
            if await self._has_moved():
                continue  # another process has pulled: what was found goes with its cursor
            if await self._has_passed(found):
                continue  # what another process has released comes first, in its stream
            first = found.records[0].record.position
            if first < last or (first == last and not again):
                # Answered, and not in the feed: the next round asks what has become of it.
                return until
            self._looked = first - 1
            offers = [Offer(*each) for each in found.records]
            answer = as_pushed(await self._hub.push(asked, offers))
            self._check_epoch(asked.hub, answer.epoch)
            if isinstance(answer, Forked):
                await self._rewind(asked, answer, tally)
                last = 0
                continue
            check_pushed(answer, offers, asked)
            self._hub_ahead_ms = answer.now_ms - self._seams.now_ms()
            if self._stamps_anew and await self._stamp_anew(answer.judged, answer.now_ms):
                tally.restamped += 1
                until = None  # what takes the places of others stands behind them
                continue
            held = to_hold(offers, answer.judged, now_ms=self._seams.now_ms())
            if held:
                await self._keep(Hold(asked.hub, tuple(held)))
            tally.held += len(held)
            tally.pushed += sum(each.verdict == "accepted" for each in answer.judged)
            forks = tally.forks
            if any(each.verdict in TAKEN for each in answer.judged):
                tally.pushed += await self._confirm(asked, answer.judged)
                await self._pull(tally)
            # What is out of the scope is asked for once more, as it is not in the feed.
            again = first > last and any(each.verdict == "out_of_scope" for each in answer.judged)
            last = 0 if tally.forks > forks else first

    async def _confirm(self, asked: Asked, judged: Sequence[Judged]) -> int:
        """Takes for confirmed what is out of the scope, and so does not come back; returns of how
        many records.

        What stands at or below the cursor that was asked with: the hub has it in the history of
        that cursor. What stands behind it may be in another by the time the cursor gets there.
        """
        at = asked.cursor
        positions = tuple(
            (each.id, each.position)
            for each in judged
            if each.verdict == "out_of_scope"
            and each.position is not None
            and each.position <= at.position
        )
        if positions:
            with suppress(CursorMoved):
                return await self._keep(Note(asked.hub, at, positions))
        return 0

    # --- purging ---

    async def _purge(self, tally: _Tally) -> None:
        """Lets the content of what is outside of the scope go, as far as that can be.

        The hub has said in its last answer up to where nothing can take its history back, and that
        the cursor is in it.
        """
        if self._state is None:
            return
        hub, at = self._state.upstream, self._state.cursor
        stable = min(self._stable, at.position)
        in_vain = 0
        while in_vain < MOST_IN_VAIN:
            self._check_stopped()
            found = await self._ledger.upstreams.outside(
                hub, after=self._purged_until, until=stable, size=self._piece
            )
            if not found:
                self._purged_until = 0  # what was needed may not be any more, the next time
                return
            here = [position for each in found for position in each.positions]
            needed = set[int]() if self._needed is None else {*await self._needed(here)}
            ids = tuple(each.id for each in found if needed.isdisjoint(each.positions))
            in_vain += not ids
            if ids:
                try:
                    tally.purged += await self._keep(Purge(hub, at, stable, ids))
                except (CursorMoved, InvalidInput):
                    return  # another process has gone on, or somebody else may need them now
            self._purged_until = found[-1].there

    async def _stamp_anew(self, judged: Sequence[Judged], now_ms: int) -> bool:
        """Gives what the clock here stamped too far ahead another stamp; returns if it could.

        All of it that the hub cannot have had, as what is behind it was stamped later still.
        """
        assert self._welcome is not None
        hub, own = self._welcome.ledger, self._ledger.identity.ledger
        if all(each.verdict != "clock_ahead" for each in judged):
            return False
        if await self._ledger.upstreams.state(own) is not None:
            return False  # as a hub of others it may have given it away
        bound_ms = now_ms + self._welcome.max_offset_ms
        for _ in range(MOST_TRIES):
            ids = await self._ahead_of(hub, bound_ms)
            if not ids:
                return False
            # Refused if another process has been faster, if another hub has it, or if one that
            # would have to be among them has come meanwhile.
            with suppress(InvalidInput):
                await self._keep(Restamp(tuple(ids), now_ms))
                break
        else:
            return False
        # So that what comes next is not stamped ahead again.
        clock = self._seams.now_ms
        if isinstance(clock, CorrectedClock):
            clock.ahead_ms = clock.machine() - now_ms
            self._hub_ahead_ms = 0
        self._looked = self._settled = 0
        return True

    async def _ahead_of(self, hub: str, bound_ms: int) -> list[str]:
        """Returns the ids of what was born here, is stamped later, and the hub cannot have."""
        ids: list[str] = []
        after, ended = 0, False
        while not ended:
            found = await self._ledger.upstreams.unconfirmed(hub, after=after, size=self._piece)
            after, ended = found.until, found.ended
            ids += [
                each.record.id
                for each in found.records
                if parse_stamp(each.record.created)[0] > bound_ms
                and self._is_here_alone(each)
                # Once: what is still ahead then comes after others that are, and would be again.
                and not each.record.flags & RESTAMPED
            ]
        return ids

    def _is_here_alone(self, found: Unconfirmed) -> bool:
        """Whether the hub cannot have had it, nor anybody who has it of the hub."""
        record, version, receipt = found
        here = record.origin == self._ledger.identity.ledger and not record.flags & HYDRATED
        return here and version is None and receipt is None

    async def _release_ripe(self) -> None:
        """Offers what was stamped too far ahead again, once it is not any more."""
        assert self._welcome is not None
        hub = self._welcome.ledger
        ahead = [
            each.id
            for each in await self._ledger.upstreams.held(hub)
            if each.verdict == "clock_ahead"
        ]
        if not ahead:
            return
        most_ms = self._seams.now_ms() + self._hub_ahead_ms + self._welcome.max_offset_ms
        records = await self._ledger.find(ahead)
        ripe = [
            record.id
            for record in records
            if record is not None and parse_stamp(record.created)[0] <= most_ms
        ]
        if ripe:
            await self._keep(Release(hub, tuple(ripe)))
            self._looked = 0

    @property
    def _settled_here(self) -> int:
        return max(self._settled, 0 if self._state is None else self._state.settled)

    async def _is_in_step(self, until: int) -> bool:
        """Whether nothing is unconfirmed up to a position; if it is, the next round offers it."""
        assert self._welcome is not None
        mixed = self._state is not None and self._state.scope == MIXED
        found = await self._find(self._welcome.ledger, self._settled_here, 1)
        if not found.records:
            self.looked_until = found.until
            return not mixed
        first = found.records[0].record.position
        self.looked_until = first - 1
        if first > until:
            return not mixed
        # Not looked at, such as what another process has released.
        self._looked = 0
        return False

    async def _find(self, hub: str, after: int, size: int) -> Offers:
        """Returns the next of what is unconfirmed, or the end of it."""
        unconfirmed = self._ledger.upstreams.unconfirmed
        while True:
            found = await unconfirmed(hub, after=after, size=size)
            if after <= self._settled_here:
                self._settled = max(self._settled, found.settled)
            if found.records or found.ended:
                return found
            after = found.until


def _place(state: UpstreamState | None) -> tuple[Mark, str, str]:
    """Where a ledger stands: a place in the history of an epoch, or in a part of it."""
    if state is None or state.cursor == BEGINNING:
        return BEGINNING, "", ""
    return state.cursor, state.epoch, state.scope


class _Stopped(Exception):
    """A round is to end where it stands."""


def _never() -> bool:
    return False


@dataclass(slots=True)
class _Tally:
    pulled: int = 0
    new: int = 0
    pushed: int = 0
    held: int = 0
    forks: int = 0
    restamped: int = 0
    in_step: bool = False
    purged: int = 0
    afresh: bool = False
    """Whether it has gone back to the beginning, as the scope was another one."""
    given: dict[str, int] = field(default_factory=dict[str, int])
    """Of each stream of which all was given since then: the version that the hub has got to."""

    def round(self) -> Round:
        return Round(
            self.pulled,
            self.new,
            self.pushed,
            self.held,
            self.forks,
            self.restamped,
            self.in_step,
            self.purged,
        )
