"""The transport: a hub far away, as an edge sees it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from everlog.client.ahead import Ahead, open_ended
from everlog.client.asking import IN_THREAD, ask, problem_in, read_in
from everlog.client.http import Answer, Http
from everlog.client.listening import Listener
from everlog.client.waiting import ask_wait
from everlog.core.sequencer import Append
from everlog.core.taking import TAKEN, Judged
from everlog.errors import TransportFailed
from everlog.wire.cursors import write_cursor
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome
from everlog.wire.pieces import read_piece
from everlog.wire.problems import read_forked
from everlog.wire.protocol import CURSOR, JSON, LEDGER, MAX_PIECE, NDJSON
from everlog.wire.talks import (
    Greeting,
    Reception,
    read_made,
    read_pushed,
    read_reception,
    write_append,
    write_greeting,
    write_offers,
)

FIRST_REST_S = 0.5
LONGEST_REST_S = 30.0
"""Between two attempts to listen to the hub, in seconds, at most."""
KEPT_BACK_S = 600.0
"""After so many seconds it is tried again whether the way still keeps back what a hub tells."""
ASK_S = 60.0
"""So often the hub is asked, in seconds, whatever it tells."""


class HttpTransport:
    """A hub at a URL. What it tells is listened to while somebody waits for it."""

    def __init__(
        self, http: Http, *, hello: Hello | None = None, fetches_ahead: bool = True
    ) -> None:
        """`hello`: what was said to the hub before, if it was; `fetches_ahead`: whether a piece is
        asked for while the one before it is taken in."""
        self._fetches_ahead = fetches_ahead
        self._http = http
        self._hello = hello
        self._reception: Reception | None = None
        self._asked: Asked | None = None
        """What was pulled last."""
        self._asked_at = float("-inf")
        self._ahead = Ahead(self._fetch, self._read_ahead)
        """What comes behind that, as far as it was asked for already."""
        self._look: Callable[[Asked, Pulled], None] | None = None
        self._listener: Listener | None = None
        self._listen_at = float("-inf")
        """Not before that it is tried to listen."""
        self._rests = 0
        self._cut = False

    def __repr__(self) -> str:
        return f"<HttpTransport {self._http.place}>"

    async def hello(self, hello: Hello) -> Welcome:
        self._hello = hello
        return (await self._greet(Greeting(hello))).welcome

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        most = min(size, MAX_PIECE if self._reception is None else self._reception.max_records)
        pulled = await self._ahead.next(asked, most)
        if pulled is None:
            answer = await self._pull(asked, most)
            if isinstance(answer, Forked):
                return answer
            pulled = answer
            if self._fetches_ahead and not pulled.up_to_date:
                # Not behind what came from there: it has gone on by itself, up to the last piece.
                # Behind that there is something new again and again where somebody writes.
                self._ahead.begin(asked.behind(pulled.end), most)
        await self._check_listener(pulled)
        self._asked, self._asked_at = asked.behind(pulled.end), time.monotonic()
        return pulled

    def show_to(self, look: Callable[[Asked, Pulled], None]) -> None:
        self._look = look

    async def _pull(self, asked: Asked, most: int) -> Pulled | Forked:
        answer = await self._fetch(asked, most)
        if answer.status >= 300:
            return await self._forked(asked, answer)
        return await self._read(asked, answer, lambda body: read_piece(body, most_records=most))

    async def _fetch(self, asked: Asked, most: int) -> Answer:
        return await self._http.ask(
            "GET",
            "/v1/pull",
            accept=NDJSON,
            query=[*_selected(asked), ("limit", str(most))],
            headers=_from(asked),
        )

    async def _read_ahead(self, asked: Asked, most: int, answer: Answer) -> Pulled:
        return await self._read(
            asked, answer, lambda body: open_ended(read_piece(body, most_records=most))
        )

    async def _read(self, asked: Asked, answer: Answer, read: Callable[[bytes], Pulled]) -> Pulled:
        look = self._look

        def read_and_show(body: bytes) -> Pulled:
            pulled = read(body)
            if look is not None and len(body) > IN_THREAD:
                look(asked, pulled)
            return pulled

        return await read_in(self._http, "/v1/pull", read_and_show, answer)

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        judged: list[Judged] = []
        stopped: set[str] = set()
        pushed: Pushed | None = None
        rest = list(offers)
        while rest:
            sent, rest = self._some(rest)
            waiting = [offer.record.stream in stopped for offer in sent]
            told = [each for each, waits in zip(sent, waiting, strict=True) if not waits]
            said: list[Judged] = []
            if told:
                answer = await self._push(asked, told)
                if isinstance(answer, Forked):
                    return answer
                pushed, said = answer, list(answer.judged)
                if len(said) != len(told) or answer.cursor != asked.cursor:
                    return answer._replace(judged=said)  # whoever asked sees that it is none
            answers = iter(said)
            for offer, waits in zip(sent, waiting, strict=True):
                one = Judged(offer.record.id, "waiting") if waits else next(answers)
                if one.verdict not in TAKEN:
                    stopped.add(offer.record.stream)
                judged.append(one)
        assert pushed is not None
        return pushed._replace(judged=judged)

    async def append(self, hub: str, request: Append) -> Made:
        body = write_append(request, hub)
        return await ask(self._http, "POST", "/v1/append", read_made, body=body)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        listener = await self._listening()
        if listener is not None:
            head = await listener.wait(position, timeout_s=timeout_s)
            if listener.has_ended:
                self._note_end(listener)
            elif head > position:
                self._rests = 0
            return max(head, position)
        return await ask_wait(self._http, position, timeout_s)

    def heard(self, asked: Asked) -> Pulled | None:
        listener, before = self._listener, self._asked
        if listener is None or before is None or time.monotonic() > self._asked_at + ASK_S:
            return None
        if (before.edge, before.hub, before.scope) != (asked.edge, asked.hub, asked.scope):
            return None
        return listener.next_behind(asked.cursor)

    def was_cut(self) -> bool:
        cut, self._cut = self._cut, False
        return cut

    async def close(self) -> None:
        await self._ahead.drop()
        await self._stop_listening()
        self._reception = None
        await self._http.close()

    # --- listening ---

    async def _listening(self) -> Listener | None:
        """Returns what listens to the hub; None where that does not work now."""
        asked = self._asked
        if self._listener is not None and self._listener.has_ended:
            self._note_end(self._listener)
            await self._stop_listening()
        if self._listener is None and asked is not None and time.monotonic() >= self._listen_at:
            self._listener = Listener(
                self._http,
                "/v1/pull",
                query=_selected(asked),
                headers=_from(asked),
                start=asked.cursor,
            )
        return self._listener

    def _note_end(self, listener: Listener) -> None:
        """Rests before it is tried again, by chance: who were cut do not all come back at once."""
        if listener is not self._listener or time.monotonic() < self._listen_at:
            return
        self._cut = self._cut or listener.has_begun
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self._rests, 10))
        self._rests += 1
        if listener.is_kept_back:
            rest_s = KEPT_BACK_S
        self._listen_at = time.monotonic() + random.uniform(rest_s / 2, rest_s)  # noqa: S311

    async def _check_listener(self, pulled: Pulled) -> None:
        """Stops listening to what tells of another history than the one that was pulled."""
        listener = self._listener
        if listener is not None and pulled.up_to_date and not listener.goes_on_from(pulled.end):
            await self._stop_listening()

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()

    # --- asking ---

    async def _greet(self, greeting: Greeting) -> Reception:
        body = write_greeting(greeting)
        self._reception = await ask(self._http, "POST", "/v1/hello", read_reception, body=body)
        return self._reception

    async def _push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        answer = await self._http.ask(
            "POST",
            "/v1/push",
            accept=JSON,
            query=_scoped(asked),
            headers={**_from(asked), CURSOR: _cursor(asked)},
            body=b"".join(write_offers(offers)),
            kind=NDJSON,
        )
        if answer.status >= 300:
            return await self._forked(asked, answer)
        return await read_in(self._http, "/v1/push", read_pushed, answer)

    def _some(self, offers: list[Offer]) -> tuple[list[Offer], list[Offer]]:
        """Returns as many offers as the hub takes at once, and the others."""
        if self._reception is None:
            return offers[:MAX_PIECE], offers[MAX_PIECE:]
        count, size = 0, 0
        for each in offers[: self._reception.max_records]:
            size += sum(map(len, write_offers([each])))
            if count and size > self._reception.max_bytes:
                break
            count += 1
        return offers[:count], offers[count:]

    async def _forked(self, asked: Asked, answer: Answer) -> Forked:
        """Returns where histories part, if that is what the hub says; raises what else it says."""
        if answer.status != 409:
            raise problem_in(answer)
        parted = await read_in(self._http, "a question", read_forked, answer)
        if parted is None:
            raise problem_in(answer)
        await self._stop_listening()
        if parted.ancestor is not None:
            return parted.answer(parted.ancestor)
        if self._hello is None:
            raise problem_in(answer)
        # What was passed goes with a hello, so that not every question carries it.
        reception = await self._greet(Greeting(self._hello, asked.marks, asked.scope))
        welcome = reception.welcome
        if welcome.ledger != asked.hub or reception.resume is None:
            raise TransportFailed(f"{self._http.place} became another hub while it was asked")
        return Forked(welcome.epoch, reception.resume)


def _cursor(asked: Asked) -> str:
    return write_cursor(asked.cursor, asked.hub)


def _from(asked: Asked) -> dict[str, str]:
    return {LEDGER: asked.edge}


def _scoped(asked: Asked) -> list[tuple[str, str]]:
    prefix, relation, types = asked.scope
    said = [("prefix", prefix), ("relation", relation), *(("type", each) for each in types or ())]
    return [(name, value) for name, value in said if value is not None]


def _selected(asked: Asked) -> list[tuple[str, str]]:
    return [("cursor", _cursor(asked)), *_scoped(asked)]
