"""Edges: what those are answered who synchronise with the hub."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from everlog.core.portable import canonical, is_canonical, parse
from everlog.core.sequencer import NewEvent
from everlog.core.stream import check_name
from everlog.core.taking import BEGINNING, Judged
from everlog.errors import EverlogError, InvalidMessage, NotAllowed, NotAuthenticated, TooBusy
from everlog.server.accepting import wants
from everlog.server.access import Caller, check_append, check_scope, screened
from everlog.server.asking import Asking, Turned, check_scope_names, in_thread, not_now
from everlog.server.limits import Limits
from everlog.server.live import News, Piece, Pieces
from everlog.server.members import members_of
from everlog.server.sealing import sealed
from everlog.server.sending import Answer, Streaming
from everlog.server.tokens import Tokens
from everlog.sync.deciding import common_ancestor
from everlog.sync.hub import Hub
from everlog.sync.receipts import holds
from everlog.wire.cursors import read_cursor, scope_id
from everlog.wire.messages import Asked, Forked, Offer, Pulled
from everlog.wire.pieces import COMMENT, piece_lines
from everlog.wire.problems import (
    SCOPE_CHANGED,
    Problem,
    forked_problem,
    plain_problem,
    problem_of,
)
from everlog.wire.protocol import CURSOR, JSON, LAST_EVENT_ID, LEDGER, NDJSON, SSE
from everlog.wire.talks import (
    AppendText,
    Reception,
    read_append,
    read_greeting,
    read_offers,
    write_made,
    write_position,
    write_pushed,
    write_reception,
)

PIECE = 500
"""Records in a piece, unless another number is asked for."""


class Edges:
    """Answers edges out of one hub."""

    def __init__(
        self,
        hub: Hub,
        tokens: Tokens | None,
        *,
        secret: bytes | None,
        limits: Limits,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._secret = secret
        self._limits = limits
        self.news = News(hub.ledger)
        self.pieces = Pieces(self._pull, hub.ledger.identity.ledger, now_s=monotonic_s)
        self._live: dict[str | None, int] = {}
        """Streams of server-sent events, by the key of the token."""
        self._waits: dict[str | None, int] = {}
        """Waits for news, by the key of the token."""

    @property
    def live(self) -> int:
        """Streams of server-sent events that there are now."""
        return sum(self._live.values())

    async def hello(self, asking: Asking) -> Answer:
        greeting = read_greeting(await asking.body())
        hello = greeting.hello
        _check_ledger(hello.ledger, "body.ledger")
        check_name("node", hello.node)
        check_name("instance", hello.instance)
        check_scope_names(greeting.scope)
        caller = await self._bound(asking.caller, hello.ledger)
        if not greeting.scope.whole:
            check_scope(caller, greeting.scope)
        welcome = await self._hub.hello(hello)
        resume = None
        if greeting.marks:
            positions = [mark.position for mark in greeting.marks]
            chains = await self._hub.ledger.upstreams.chains(positions)
            resume = common_ancestor(greeting.marks, chains)
        reception = Reception(
            welcome,
            resume,
            scope_id(sealed(self._secret, greeting.scope, await self._hub.words(greeting.scope))),
            self._limits.records,
            self._limits.body_bytes,
        )
        return Answer(write_reception(reception), JSON)

    async def pull(self, asking: Asking) -> Answer | Streaming:
        text = asking.one("cursor") or "0"
        if wants(asking, SSE):
            text = asking.headers.get(LAST_EVENT_ID.lower()) or text
        cursor = read_cursor(text)
        scope = asking.edge_scope()
        size = asking.number("limit", PIECE, least=1, most=self._limits.records)
        check_scope(asking.caller, scope)
        ledger = asking.headers.get(LEDGER.lower())
        if ledger is not None:
            _check_ledger(ledger, LEDGER)
            self._check_own(asking.caller, ledger)
        own = self._hub.ledger.identity.ledger
        asked = Asked(ledger or "", cursor.ledger or own, (cursor.mark,), scope)
        piece = await self.pieces.pull(asked, size=size, is_told=wants(asking, SSE))
        if isinstance(piece, Forked):
            raise Turned(forked_problem(piece.epoch, None))
        given = scope_id(piece.pulled.scope)
        if cursor.mark != BEGINNING and cursor.scope_id not in (None, given):
            raise Turned(_scope_changed(given))
        if wants(asking, SSE):
            return self._streaming(asking, asked, piece, size)
        return Answer(b"".join(piece_lines(piece.pulled, own)), NDJSON, headers=_caching(piece))

    async def _pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        pulled = await self._hub.pull(asked, size=size)
        if isinstance(pulled, Forked):
            return pulled
        return pulled._replace(scope=sealed(self._secret, asked.scope, pulled.scope))

    async def push(self, asking: Asking) -> Answer:
        ledger = asking.headers.get(LEDGER.lower())
        if ledger is None:
            raise InvalidMessage(LEDGER, "is missing: whose records are they?")
        _check_ledger(ledger, LEDGER)
        cursor = read_cursor(asking.headers.get(CURSOR.lower(), ""), at=CURSOR)
        scope = asking.edge_scope()
        if not scope.whole:
            check_scope(asking.caller, scope)
        body = await asking.body()
        offers = await in_thread(body, lambda: read_offers(body, most=self._limits.records))
        caller = await self._bound(asking.caller, ledger)
        passed, refused = screened(
            caller, offers, await members_of(self._hub.ledger, caller.push), vouched=self._has_had
        )
        own = self._hub.ledger.identity.ledger
        asked = Asked(ledger, cursor.ledger or own, (cursor.mark,), scope)
        pushed = await self._hub.push(asked, passed)
        if isinstance(pushed, Forked):
            raise Turned(forked_problem(pushed.epoch, None))
        rest = iter(pushed.judged)
        judged: list[Judged] = [refused.get(i) or next(rest) for i in range(len(offers))]
        return Answer(write_pushed(pushed._replace(judged=judged)), JSON)

    def _has_had(self, offer: Offer) -> bool:
        """Whether a receipt shows that the hub had the record once."""
        return self._secret is not None and holds(self._secret, offer.record, offer.receipt)

    async def append(self, asking: Asking) -> Answer:
        body = await asking.body()
        read = await in_thread(body, lambda: _checked_append(body))
        hub = read.hub if read.hub is not None else self._hub.ledger.identity.ledger
        check_append(
            asking.caller, read.request, await members_of(self._hub.ledger, asking.caller.push)
        )
        made = await self._hub.append(hub, read.request)
        return Answer(write_made(made), JSON)

    async def wait(self, asking: Asking) -> Answer:
        position = asking.number("position", 0)
        timeout_s = min(asking.seconds("timeout_s", self._limits.wait_s), self._limits.wait_s)
        self._check_room(self._waits, asking.caller.key, "wait for news")
        with _counted(self._waits, asking.caller.key):
            head = await self.news.past(position, timeout_s=timeout_s)
        return Answer(write_position(head), JSON)

    def _streaming(self, asking: Asking, asked: Asked, piece: Piece, size: int) -> Streaming:
        if self.news.is_stopped:
            raise not_now("the server is about to stop", retry_after_s=1.0)
        self._check_room(self._live, asking.caller.key, "follow the log")
        return Streaming(self._events(asking, asked, piece, size), SSE)

    def _check_room(self, counts: dict[str | None, int], key: str | None, what: str) -> None:
        """Raises unless one more may do something that takes its time."""
        if sum(counts.values()) >= self._limits.streams:
            raise not_now(f"too many {what}", retry_after_s=5.0)
        if key is not None and counts.get(key, 0) >= self._limits.streams_per_token:
            raise TooBusy(f"too many {what} by this token", retry_after_s=5.0)

    async def _events(
        self, asking: Asking, asked: Asked, piece: Piece, size: int
    ) -> AsyncGenerator[bytes]:
        with _counted(self._live, asking.caller.key):
            yield b"retry: 1000\n\n"
            yield piece.events
            scope = piece.pulled.scope
            while True:
                pulled = piece.pulled
                end = pulled.end
                while pulled.up_to_date:
                    head = await self.news.past(end.position, timeout_s=self._limits.comment_s)
                    if self.news.is_stopped:
                        return
                    if head > end.position:
                        break
                    yield COMMENT
                    self._check_still(asking.caller)
                self._check_still(asking.caller)
                if self.news.is_stopped:
                    return
                asked = asked._replace(marks=(end,))
                found = await self.pieces.pull(asked, size=size, is_told=True)
                if isinstance(found, Forked):
                    yield _as_event(forked_problem(found.epoch, None))
                    return
                if found.pulled.scope != scope:
                    yield _as_event(_scope_changed(scope_id(found.pulled.scope)))
                    return
                if _says_something(found.pulled, pulled):
                    yield found.events
                else:
                    await asyncio.sleep(0.05)  # what there is news of cannot be read yet
                piece = found

    def _check_still(self, caller: Caller) -> None:
        """Raises `NotAuthenticated` once a token holds no more."""
        if self._tokens is None or caller.key is None:
            return
        token = self._tokens.find(caller.key)
        if token is None or not token.holds_at(self._hub.now_ms()):
            raise NotAuthenticated("the token has expired or was revoked")

    async def _bound(self, caller: Caller, ledger: str) -> Caller:
        """Returns who asks, once their token belongs to their ledger: from now on at the latest."""
        if caller.key is None or self._tokens is None:
            return caller
        if caller.ledger is None:
            if ledger == self._hub.ledger.identity.ledger:
                raise NotAllowed(
                    f"ledger {ledger} is the hub's own: nobody else writes in its name, unless "
                    "their token was created with this ledger"
                )
            token = await asyncio.to_thread(self._tokens.bind, caller.key, ledger)
            caller = replace(caller, ledger=token.ledger)
        self._check_own(caller, ledger)
        return caller

    def _check_own(self, caller: Caller, ledger: str) -> None:
        if caller.ledger is not None and caller.ledger != ledger:
            raise NotAllowed(
                f"token {caller.name!r} belongs to another ledger than {ledger}: each ledger has a "
                "token of its own; create one for it"
            )


# --- helpers ------------------------------------------------------------------------------------


@contextmanager
def _counted(counts: dict[str | None, int], key: str | None) -> Generator[None]:
    counts[key] = counts.get(key, 0) + 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def event_of(error: EverlogError) -> bytes:
    """Returns why a stream of server-sent events ends, as the last of them."""
    return _as_event(problem_of(error))


def _as_event(problem: Problem) -> bytes:
    return b"event: problem\ndata: " + problem.body + b"\n"


def _scope_changed(scope: str) -> Problem:
    return plain_problem(
        409,
        SCOPE_CHANGED,
        "the cursor is of another scope, or what the scope means has changed; begin at cursor 0: "
        "what is known already comes again, under the same ids",
        scope_id=scope,
    )


def _says_something(pulled: Pulled, before: Pulled) -> bool:
    return pulled.end != before.end or bool(pulled.records) or not pulled.up_to_date


def _caching(piece: Piece) -> dict[str, str]:
    """Lets a piece be kept, if it is full, of the whole log, and nothing can take it back.

    Who has kept it asks whether it still holds: it does not once another epoch has begun. It is
    weak, as how far the history is stable has grown meanwhile, and what was said of that is true.
    """
    pulled = piece.pulled
    if pulled.up_to_date or pulled.scope or pulled.end.position > pulled.stable:
        return {}
    return {
        "Cache-Control": "private, no-cache",
        "ETag": f'W/"{pulled.end.chain.hex()}.{pulled.epoch}"',
        "Vary": "Accept, Authorization",
    }


def _check_ledger(ledger: str, at: str) -> None:
    if len(ledger) != 32 or ledger.strip("0123456789abcdef"):
        raise InvalidMessage(at, "must be the id of a ledger: 32 lower-case hex characters")


def _checked_append(body: bytes) -> AppendText:
    read = read_append(
        body, new_id=lambda: str(uuid.uuid4()), new_nonce=lambda: secrets.token_bytes(32)
    )
    events = tuple(_checked(event) for event in read.request.events)
    return read._replace(request=read.request._replace(events=events))


def _checked(event: NewEvent) -> NewEvent:
    check_name("event type", event.type)
    check_name("register", event.register)
    data, meta = event.data, event.meta
    if not is_canonical(data):
        data = canonical(parse(data))
    if not is_canonical(meta, at="meta"):
        meta = canonical(parse(meta, at="meta"), at="meta")
    return event._replace(data=data, meta=meta)
