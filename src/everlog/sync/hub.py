"""The hub: what a ledger answers to its edges."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from everlog.core.record import StoredRecord
from everlog.core.selection import Selection
from everlog.core.sequencer import Append, Identity, check_append
from everlog.core.stamp import parse_stamp
from everlog.core.taking import BEGINNING, TAKEN, Judged, Mark, Rewind, Take, Taken
from everlog.core.token import ResumeToken
from everlog.errors import ClockAhead, LogDiverged, NotSupported, WrongUpstream
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.sync.deciding import all_judged, common_ancestor, screen
from everlog.sync.receipts import receipt_for
from everlog.sync.requests import Keep, TakeIn
from everlog.wire.messages import (
    PROTOCOL,
    Asked,
    Forked,
    Hello,
    Made,
    Offer,
    Pulled,
    Pushed,
    Scope,
    Welcome,
)

AppendHere = Callable[[Append], Awaitable[Sequence[StoredRecord]]]
"""Appends to the hub's ledger, and tells the hooks."""
Stable: TypeAlias = int | Callable[[], int | Awaitable[int]]
"""Up to which position nothing can take the hub's history back: a fixed one, or what tells it."""

_log = logging.getLogger("everlog")


class Hub:
    """Answers edges out of one ledger. A transport: of an edge in the same process, at once."""

    def __init__(
        self,
        ledger: Ledger,
        take_in: TakeIn,
        keep: Keep,
        seams: Seams,
        *,
        secret: bytes | None = None,
        max_offset_ms: int = 60_000,
        strict: tuple[str, ...] = (),
        append: AppendHere | None = None,
        strict_above: Callable[[], Mapping[str, tuple[str, ...]]] = dict,
        stable: Stable | None = None,
    ) -> None:
        """For its edges.

        - `secret`: that of the receipts; None: edges are trusted, and get none
        - `strict_above`: tells of each hub of this ledger the streams that it alone appends to, by
          how their names begin, as far as is known; the others are looked up at each hello
        - `stable`: up to which position its history cannot be taken back; None: up to the head
        """
        self._strict_above = strict_above
        self._ledger = ledger
        self._take_in = take_in
        self._keep = keep
        self._seams = seams
        self._secret = secret
        self._max_offset_ms = max_offset_ms
        self._strict = strict
        self._append = append
        self._stable = stable

    @property
    def ledger(self) -> Ledger:
        """What it answers out of."""
        return self._ledger

    @property
    def strict(self) -> tuple[str, ...]:
        """Streams whose names begin so are appended to here alone."""
        return self._strict

    def now_ms(self) -> int:
        """Returns its wall clock, in milliseconds since 1970."""
        return self._seams.now_ms()

    async def hello(self, hello: Hello) -> Welcome:
        if PROTOCOL not in hello.protocols:
            raise NotSupported(
                f"this hub speaks protocol {PROTOCOL}, and the edge "
                f"{', '.join(map(str, hello.protocols)) or 'none'}: update the older of the two"
            )
        identity = self._ledger.identity
        states = await self._ledger.upstreams.states()
        strict = {state.upstream: state.strict for state in states}
        _require_none(strict)
        await self._refuse_if_purged()
        if identity.ledger not in strict:
            # That it is a hub: what it has may be elsewhere from now on, and keeps its stamps, and
            # its content.
            here = (identity.ledger, identity.epoch, BEGINNING, BEGINNING)
            await self._keep(Rewind(*here))
            await self._refuse_if_purged()  # what has gone until then; no more goes from here on
        stable = await self._stable_position()
        stable = (await self._ledger.head()).position if stable is None else stable
        now_ms = self._seams.now_ms()
        return Welcome(
            identity.ledger, identity.epoch, now_ms, self._max_offset_ms, self._strict, stable
        )

    async def _refuse_if_purged(self) -> None:
        position = await self._ledger.upstreams.first_tombstone()
        if position is not None:
            raise NotSupported(
                f"ledger {self._ledger.identity.ledger} cannot be a hub: the content of some of "
                f"its records went, first at position {position}, as it is an edge with a scope: "
                "let others synchronise with its own hub, or let it want the whole of that again"
            )

    async def _stable_position(self) -> int | None:
        """Returns up to where nothing can take the history back; None for up to the head.

        To be asked before the head: what is stable then is of the history that is found afterwards.
        """
        if self._stable is None or isinstance(self._stable, int):
            return self._stable
        try:
            told = self._stable()
            position: object = await told if inspect.isawaitable(told) else told
            if type(position) is not int or position < 0:
                raise TypeError(f"a stable position is a number from 0, not {position!r:.60}")
        except Exception:
            # What depends on it can wait; the edges cannot.
            _log.warning("the hub's stable position is not known now", exc_info=True)
            return 0
        return position

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        identity = self._own(asked)
        seen = ResumeToken(identity.ledger, identity.epoch, *asked.cursor)
        prefix, relation, types = asked.scope
        stable = await self._stable_position()
        selection = Selection(
            after=asked.cursor.position, seen=seen, prefix=prefix, relation=relation, types=types
        )
        while True:
            revision = await self._revision(asked.scope)
            scope = await self._words(asked.scope, revision)
            try:
                page = await self._ledger.read(selection, size=size)
            except LogDiverged:
                return await self._forked(asked)
            if revision == await self._revision(asked.scope):
                break  # otherwise it is not known of which membership the page is
        records = tuple(page.records)
        end = asked.cursor
        if not asked.scope.whole and page.cursor is None:
            read_to = page.selection.seen  # the end of what was looked at
            end = end if read_to is None else Mark(read_to.position, read_to.chain)
        elif records:
            end = Mark(records[-1].position, records[-1].chain)
        receipts: tuple[bytes | None, ...] = ()
        if self._secret is not None:
            receipts = tuple(receipt_for(self._secret, record) for record in records)
        head = page.selection.until or 0
        return Pulled(
            identity.epoch,
            asked.cursor,
            records,
            receipts,
            end,
            page.cursor is None,
            scope,
            head if stable is None else min(stable, head),
        )

    async def words(self, scope: Scope) -> str:
        """Returns a scope as text, which is another one when it comes to mean something else."""
        return await self._words(scope, await self._revision(scope))

    async def _revision(self, scope: Scope) -> int:
        if scope.relation is None:
            return 0
        return await self._ledger.upstreams.revision(scope.relation)

    async def _words(self, scope: Scope, revision: int) -> str:
        if scope.whole:
            return ""
        said: list[object] = [scope.prefix]
        if scope.relation is not None:
            # The members themselves: a hub that was set back counts the same revisions again.
            members = json.dumps(list(await self._ledger.streams_of([scope.relation])))
            said += [scope.relation, revision, hashlib.sha256(members.encode()).hexdigest()]
        if scope.types is not None:
            said.append({"types": sorted({*scope.types})})
        return json.dumps(said)

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        identity = self._own(asked)
        [chain] = await self._ledger.upstreams.chains([asked.cursor.position])
        if chain != asked.cursor.chain:
            return await self._forked(asked)
        stable = await self._stable_position()
        screened = screen(offers, edge=asked.edge, secret=self._secret)
        taken = Taken((), ())
        if screened.offers:
            take = Take(
                tuple(offer.record for offer in screened.offers),
                self._max_offset_ms,
                screened.vouched,
                self._strict,
                [offer.version for offer in screened.offers],
            )
            taken = await self._take_in(take)
        judged = all_judged(screened, taken.judged, len(offers))
        if not asked.scope.whole:
            judged = await self._scoped(asked.scope, offers, judged)
        # At least so far the head has got.
        head = max(asked.cursor.position, *(each.position or 0 for each in judged), 0)
        stable = head if stable is None else min(stable, head)
        return Pushed(identity.epoch, asked.cursor, judged, self._seams.now_ms(), stable)

    async def _scoped(
        self, scope: Scope, offers: Sequence[Offer], judged: Sequence[Judged]
    ) -> list[Judged]:
        """Says of what was taken whether it is of the scope, and so will be given back."""
        members = set[str]()
        if scope.relation is not None:
            members = {*await self._ledger.streams_of([scope.relation])}
        said: list[Judged] = []
        for offer, each in zip(offers, judged, strict=True):
            if each.verdict in TAKEN and not scope.has(offer.record, members):
                each = each._replace(verdict="out_of_scope")
            said.append(each)
        return said

    async def append(self, hub: str, request: Append) -> Made:
        identity = self._ledger.identity
        if hub != identity.ledger:
            raise self._wrong(hub)
        if self._append is None:
            raise NotSupported("this hub takes no appends of its edges")
        if request.observed:
            ahead_ms = parse_stamp(request.observed)[0] - self._seams.now_ms()
            # What this ledger itself has given is no news, though its clock was set back since.
            if (
                ahead_ms > self._max_offset_ms
                and request.observed > (await self._ledger.head()).clock
            ):
                raise ClockAhead(
                    "what the writer has read",
                    ahead_ms=ahead_ms,
                    max_offset_ms=self._max_offset_ms,
                )
        if request.at is not None:
            position, expected = request.at
            [chain] = await self._ledger.upstreams.chains([position])
            if chain != expected:
                raise LogDiverged(position, "end" if chain is None else "chain")
        return Made((*await self._append(check_append(request)),), request.at)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        return await self._ledger.wait(position, timeout_s=timeout_s)

    def _own(self, asked: Asked) -> Identity:
        _require_none(self._strict_above())
        identity = self._ledger.identity
        if asked.hub != identity.ledger:
            raise self._wrong(asked.hub)
        return identity

    def _wrong(self, asked: str) -> WrongUpstream:
        return WrongUpstream(
            f"this is ledger {self._ledger.identity.ledger}, and ledger {asked} was asked; "
            "say hello again"
        )

    async def _forked(self, asked: Asked) -> Forked:
        chains = await self._ledger.upstreams.chains([mark.position for mark in asked.marks])
        return Forked(self._ledger.identity.epoch, common_ancestor(asked.marks, chains))


def _require_none(strict: Mapping[str, tuple[str, ...]]) -> None:
    """Raises `NotSupported` if another ledger alone appends to some of the streams here.

    Edges would append to them here, where nobody can say which version is free; and which events
    are orphans may change here without a trace in what edges pull.
    """
    for hub, prefixes in strict.items():
        if prefixes:
            raise NotSupported(
                f"this hub is itself in step with hub {hub}, which alone appends to some streams "
                f"(those that begin with {prefixes[0]!r}): synchronise with that one"
            )
