"""The application: every request is looked at from outside to inside, and most are not let in.

In this order: how many of its address, the path, who asks, how many of theirs, what they may ask,
what they accept, what they send; and only then its body.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from everlog.errors import (
    EverlogError,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    StorageError,
    StoreClosed,
    TooBusy,
)
from everlog.server.accepting import accepted
from everlog.server.access import ANYBODY, Caller
from everlog.server.answering import Answering
from everlog.server.asking import Asking, Bodies, Gone, Turned, headers_of, turned
from everlog.server.edges import Edges, event_of
from everlog.server.limits import Limits
from everlog.server.rates import Rates
from everlog.server.readers import Readers
from everlog.server.routes import ROUTES, Needs, Route
from everlog.server.sending import Answer, Sender, Streaming, answer_of, unless_known
from everlog.server.tokens import Tokens, find
from everlog.store.event_store import EventStore
from everlog.wire.problems import INTERNAL, Problem, plain_problem, problem_of
from everlog.wire.protocol import SSE

_log = logging.getLogger("everlog.server")

FAILED_COST = 20.0
"""A token that is none counts as so many requests of its address."""

Answers = Callable[[Asking], Awaitable[Answer | Streaming]]


def app(
    store: EventStore,
    *,
    tokens: Tokens | None = None,
    secret: bytes | None = None,
    limits: Limits | None = None,
    behind_proxy: bool = False,
) -> Application:
    """Returns an ASGI application that offers a store to its edges, as their hub.

    For an ASGI server of one's own; `everlog.server.serve` brings one. The store belongs to the
    event loop that the server runs in, and stays open as long as it runs.

    - `tokens`: who may ask, and for what; without them whoever reaches it may do everything, so it
      is for this machine alone: it answers to the names of the loopback only
    - `secret`: of the receipts, by which edges give back what the hub has lost: at least 16 bytes,
      kept outside of the database and always the same; needed with tokens
    - `limits`: how much it takes of whom
    - `behind_proxy`: all requests come by a proxy, which says in `X-Forwarded-For` of whom: the
      last address there is counted, and not that of the proxy, which all have

    Raises `InvalidInput` for tokens without a secret.

    >>> from everlog.server import app
    >>> application = app(store)  # for the ASGI server that runs it
    """
    return Application(
        store, tokens=tokens, secret=secret, limits=limits or Limits(), behind_proxy=behind_proxy
    )


class Application:
    """An ASGI application over one store; `everlog.server.app` makes it.

    >>> from everlog.server import app
    >>> application = app(store)
    >>> application.limits.records
    1000
    >>> await application.close()
    """

    def __init__(
        self,
        store: EventStore,
        *,
        tokens: Tokens | None,
        secret: bytes | None,
        limits: Limits,
        behind_proxy: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if tokens is not None and secret is None:
            raise InvalidInput(
                "a hub with tokens needs the secret of its receipts: pass secret=..., 16 random "
                "bytes or more, kept outside of the database"
            )
        hub = store.as_hub(secret=secret)
        self._now_ms = hub.now_ms
        self._tokens = tokens
        self._behind_proxy = behind_proxy
        self.limits = limits
        self.answering = Answering(
            hub,
            Edges(hub, tokens, secret=secret, limits=limits, monotonic_s=monotonic_s),
            Readers(hub.ledger, limits=limits),
        )
        rate = limits.requests_per_s
        self._of_token = Rates(rate, 4 * rate, now_s=monotonic_s)
        rate = limits.address_requests_per_s
        self._of_address = Rates(rate, 4 * rate, now_s=monotonic_s)
        self.bodies = Bodies(limits)
        self._starlette = Starlette(
            routes=[self._route(route) for route in ROUTES],
            exception_handlers={HTTPException: _no_route},
            lifespan=self._lifespan,
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._turn_away(scope)
            if problem is not None:
                sender = Sender(scope, send, write_s=self.limits.write_s)
                with suppress(Gone):
                    await sender.whole(answer_of(problem, {}), close=True)
                return
        await self._starlette(scope, receive, send)

    def stop(self) -> None:
        """Ends the streams of server-sent events and the waits; the rest is answered as before."""
        self.answering.news.stop()

    async def close(self) -> None:
        """Stops, and lets go of everything but the store."""
        await self.answering.news.close()
        await self.answering.edges.pieces.close()

    def _turn_away(self, scope: Scope) -> Problem | None:
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self.limits.header_bytes:
            limit = self.limits.header_bytes
            return plain_problem(431, "headers_too_large", f"headers have at most {limit:,} bytes")
        names = {name.lower() for name, _ in scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:
            # A proxy may have gone by the other one, and what is behind may be somebody else's.
            return plain_problem(400, "two_lengths", "a body has a length, or comes in chunks")
        after_s = self._of_address.take(self._address(scope))
        if after_s:
            return problem_of(TooBusy("too many requests of this address", retry_after_s=after_s))
        return None

    def _address(self, scope: Scope) -> str:
        """Returns of whom a request is: what stands last is what the proxy itself has seen."""
        if self._behind_proxy:
            said = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if said:
                return str(said[-1].rpartition(b",")[2].strip().decode("latin-1"))
        client = scope.get("client")
        return str(client[0]) if client else "?"

    def _route(self, route: Route) -> StarletteRoute:
        answers: Answers = self.answering.by_route[route.name]
        # In a stream's name a slash is as good as any other character.
        path = route.path.replace("{stream}", "{stream:path}")
        made = StarletteRoute(
            path, _Endpoint(self, route, answers, self._address), methods=[route.method]
        )
        assert made.methods is not None
        made.methods.discard("HEAD")  # nothing is there that is not in the table
        return made

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.close()

    # --- who asks -----------------------------------------------------------------------------

    def caller(self, scope: Scope, headers: dict[str, str]) -> Caller:
        """Returns who asks; raises `NotAuthenticated`, `NotAllowed` or `TooBusy`."""
        if self._tokens is None:
            _check_local(headers)
            return ANYBODY
        kind, _, plain = headers.get("authorization", "").partition(" ")
        token = None
        if kind.lower() == "bearer" and plain:
            token = find(self._tokens, plain.strip())
            if token is None:
                self._of_address.charge(self._address(scope), FAILED_COST)
                raise NotAuthenticated("the token is none of this hub's")
        if token is None:
            raise NotAuthenticated("a token is needed: send the header Authorization: Bearer ...")
        if not token.holds_at(self._now_ms()):
            raise NotAuthenticated(f"token {token.name!r} has expired or was revoked")
        after_s = self._of_token.take(token.key)
        if after_s:
            raise TooBusy("too many requests by this token", retry_after_s=after_s)
        return Caller(token.name, token.key, token.pull, token.push, token.ledger)


class _Endpoint:
    """Answers one route. An object and not a function: so Starlette hands it the bare request."""

    def __init__(
        self,
        application: Application,
        route: Route,
        answers: Answers,
        address: Callable[[Scope], str],
    ) -> None:
        self._application = application
        self._route = route
        self._answers = answers
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application, route = self._application, self._route
        sender = Sender(scope, send, write_s=application.limits.write_s)
        with application.bodies.one() as share:
            headers = headers_of(scope)
            asking: Asking | None = None
            # What has a body that nobody has read cannot be gone on with.
            has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
            try:
                try:
                    caller = ANYBODY
                    if route.needs is not Needs.NOTHING:
                        caller = application.caller(scope, headers)
                    share.whose = caller.key or self._address(scope)
                    _check_rights(route, caller)
                    _check_media(route, headers)
                    asking = Asking(
                        route, scope, receive, caller, headers, application.limits, share
                    )
                    answer = await self._answers(asking)
                except Turned as error:
                    answer = answer_of(error.problem, error.headers)
                except EverlogError as error:
                    answer = answer_of(self._problem(error), {})
                if isinstance(answer, Streaming):
                    await sender.stream(Streaming(self._to_the_end(answer), answer.media), receive)
                else:
                    if route.is_tagged:
                        answer = unless_known(answer, headers)
                    unread = has_body and (asking is None or not asking.has_body)
                    await sender.whole(answer, close=unread)
            except Gone:
                return
            except Exception as error:
                self._log_failure(error)
                if not sender.has_begun:
                    await self._say_failed(sender)

    async def _to_the_end(self, answer: Streaming) -> AsyncGenerator[bytes]:
        """Gives what comes; what ends it before its time is said in the last event."""
        try:
            async with aclosing(answer.chunks) as chunks:
                async for chunk in chunks:
                    yield chunk
        except EverlogError as error:
            self._problem(error)
            assert answer.media == SSE
            yield event_of(error)

    def _problem(self, error: EverlogError) -> Problem:
        if isinstance(error, StoreClosed):
            return problem_of(TooBusy("the store is closed", retry_after_s=5.0), status=503)
        problem = problem_of(error)
        if problem.status >= 500 or isinstance(error, StorageError):
            self._log_failure(error)
        return problem

    def _log_failure(self, error: BaseException) -> None:
        # Where it was, and not what it says: that may hold what a client has sent.
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        where = " < ".join(
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
        )
        _log.error("%s failed: %s at %s", self._route, type(error).__name__, where)

    async def _say_failed(self, sender: Sender) -> None:
        problem = plain_problem(500, INTERNAL, "the server failed; its log says where")
        try:
            await sender.whole(answer_of(problem, {}), close=True)
        except (TimeoutError, Gone):
            return


def _check_rights(route: Route, caller: Caller) -> None:
    if route.needs is Needs.PULL and not caller.pull:
        raise NotAllowed(f"token {caller.name!r} may not read anything")
    if route.needs is Needs.PUSH and not caller.push:
        raise NotAllowed(f"token {caller.name!r} may not write anything")


def _check_media(route: Route, headers: dict[str, str]) -> None:
    if accepted(headers.get("accept"), route.gives) is None:
        raise turned(406, "not_acceptable", f"there is only: {', '.join(route.gives)}")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        # What is small here could be any size once it is unpacked.
        raise turned(415, "compressed", "a body is not compressed; send it as it is")
    if route.takes is None:
        return
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != route.takes:
        raise turned(415, "unsupported_media_type", f"the body must be {route.takes}")


def _check_local(headers: dict[str, str]) -> None:
    """Raises `NotAllowed` for a web page that reaches for a server of this machine."""
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.strip("[]").lower() not in ("localhost", "127.0.0.1", "::1", ""):
        raise NotAllowed("a hub without tokens answers to localhost alone; create a token")
    if "origin" in headers:
        raise NotAllowed("a hub without tokens answers no web page; create a token")


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = plain_problem(405, "method_not_allowed", "the path takes other methods")
    else:
        problem = plain_problem(404, "no_such_path", "there is no such path; see /openapi.json")
    answer = answer_of(problem, error.headers or {})
    return Response(
        answer.body,
        answer.status,
        {**answer.headers, "Cache-Control": "no-store"},
        media_type=answer.media,
    )
