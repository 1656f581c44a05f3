"""Recorded conversations with a hub, for who implements the protocol in another language.

    python -m tests.wire.recording        writes tests/wire/recordings/*.json anew

The files say what is sent and what has to come back, byte for byte; `recordings/README.md` says how
to read them. They are made by a real server on a real socket, in which time and chance stand still,
so that whoever makes them again gets the same; `conversations.py` has what is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from everlog import EventStore
from everlog.connect import connect
from everlog.errors import NotFound
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.server import Limits, Pattern, Server, Token, serve
from everlog.server.tokens import digest_of
from everlog.testing import FakeClock, deterministic_bytes
from tests.server.calling import Reply, until

FOLDER = Path(__file__).parent / "recordings"
PATIENCE_S = 60.0
LONG_S = 1e6
CALM: dict[str, float] = {
    # Whatever goes by real time must not happen while a machine is busy.
    "body_s": LONG_S,
    "header_s": LONG_S,
    "write_s": LONG_S,
    "comment_s": LONG_S,
    "requests_per_s": 1e6,
    "address_requests_per_s": 1e6,
}
UNTOLD = frozenset(["date", "content-length", "transfer-encoding"])
"""Headers of answers that are not written down: of every HTTP server's own."""


@dataclass(frozen=True)
class Setup:
    """What a hub is before the first request, besides empty."""

    seed: str
    strict: tuple[str, ...] = ()
    secret: str | None = None
    """In hex."""
    tokens: tuple[Mapping[str, Any], ...] = ()
    """Each with `name`, `token`, `pull`, `push`, and perhaps `expires_ms` and `revoked_ms`."""
    limits: Mapping[str, int] | None = None


class Tokens:
    """Tokens that are the same each time."""

    def __init__(self, listed: Sequence[Mapping[str, Any]]) -> None:
        self._tokens: dict[str, Token] = {}
        for each in listed:
            plain: str = each["token"]
            key = plain.split("_", 2)[1]
            self._tokens[key] = Token(
                each["name"],
                key,
                digest_of(plain),
                0,
                tuple(Pattern.parse(text) for text in each["pull"]),
                tuple(Pattern.parse(text) for text in each["push"]),
                each.get("expires_ms"),
            )

    def find(self, key: str) -> Token | None:
        return self._tokens.get(key)

    def bind(self, key: str, ledger: str) -> Token:
        token = self._tokens.get(key)
        if token is None:
            raise NotFound("it is gone")
        if token.ledger is None:
            token = self._tokens[key] = replace(token, ledger=ledger)
        return token

    def revoke(self, name: str, *, now_ms: int) -> None:
        for key, token in self._tokens.items():
            if token.name == name:
                self._tokens[key] = replace(token, revoked_ms=now_ms)


class RecordedHub:
    """A hub as its setup says, on a port, and what its operator can do."""

    def __init__(self, store: EventStore, clock: FakeClock, tokens: Tokens | None) -> None:
        self.store = store
        self.clock = clock
        self.tokens = tokens
        self.server: Server | None = None

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    async def until_gone(self) -> None:
        """Returns once the hub has noticed that nobody follows it any more."""
        assert self.server is not None
        answering = self.server.application.answering
        await until(lambda: answering.live == 0, what="nobody follows")

    async def act(self, action: Mapping[str, Any]) -> None:
        """Does what a recording says that the operator of the hub did."""
        [(name, value)] = action.items()
        if name == "clock_ms":
            self.clock.set(value)
        elif name == "begin_epoch":
            await self.store.begin_epoch()
        elif name == "join":
            await self.store.relations.add(*value)
        elif name == "leave":
            await self.store.relations.remove(*value)
        else:
            assert name == "revoke", action
            assert self.tokens is not None
            self.tokens.revoke(value, now_ms=self.clock())


Opened = Callable[[Seams], Awaitable[Ledger]]


async def in_memory(seams: Seams) -> Ledger:
    """Opens a new ledger in memory."""
    return await connect("memory:", seams=seams, options={})


@asynccontextmanager
async def hub_of(setup: Setup, opened: Opened = in_memory) -> AsyncGenerator[RecordedHub]:
    """Runs the hub of a setup while the block does; `opened`: opens a new ledger."""
    clock = FakeClock()
    seams = Seams(clock, deterministic_bytes(setup.seed))
    ledger = await opened(seams)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            EventStore(ledger, seams=seams, strict=setup.strict)
        )
        tokens = Tokens(setup.tokens) if setup.tokens else None
        hub = RecordedHub(store, clock, tokens)
        limits: dict[str, Any] = {**CALM, **(setup.limits or {})}
        hub.server = await stack.enter_async_context(
            serve(
                store,
                port=0,
                tokens=tokens,
                secret=None if setup.secret is None else bytes.fromhex(setup.secret),
                limits=Limits(**limits),
            )
        )
        yield hub


# --- a client that knows HTTP/1.1 and nothing of everlog ------------------------------------------


class Connection:
    """One connection, and the answer that comes on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._coming = b""
        """What has come of a body that goes on, and was not given yet."""

    @staticmethod
    async def open(port: int) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def send(self, request: Mapping[str, Any]) -> None:
        body = "".join(request.get("body", ())).encode()
        headers = {"Host": "localhost", **request["headers"]}
        if body and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        head = [f"{request['method']} {request['target']} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE_S):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.split("\r\n")[:-2]
        headers = {
            name.lower(): value for name, _, value in (each.partition(": ") for each in lines)
        }
        return int(first.split()[1]), headers

    async def whole(self) -> Reply:
        """Returns a whole answer."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_S):
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(status, _told(headers), body)

    async def part(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Returns what comes of a body that goes on, until it is enough."""
        found = b""
        async with asyncio.timeout(PATIENCE_S):
            while not is_enough(found):
                size = int(await self._reader.readline(), 16)
                assert size, f"it has ended after {found!r}"
                found += (await self._reader.readexactly(size + 2))[:-2]
        return found

    def close(self) -> None:
        self._writer.transport.abort()


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in UNTOLD}


def lines_of(body: bytes) -> list[str]:
    """Returns a body as texts that together are it: a line each, with its end."""
    return body.decode().splitlines(keepends=True)


# --- recording ------------------------------------------------------------------------------------


class Talk:
    """Asks a hub, and writes down what was said."""

    def __init__(self, hub: RecordedHub) -> None:
        self._hub = hub
        self._open: dict[str, Connection] = {}
        self._going_on: set[str] = set()
        """The names of those whose answer goes on."""
        self.steps: list[dict[str, Any]] = []

    async def ask(
        self,
        about: str,
        method: str,
        target: str,
        *,
        json: Any = None,
        body: str = "",
        token: str | None = None,
        **headers: str,
    ) -> Reply:
        """Sends a request and returns the answer; `_` in the name of a header stands for `-`."""
        request = _request(method, target, json, body, token, headers)
        connection = await Connection.open(self._hub.port)
        try:
            await connection.send(request)
            reply = await connection.whole()
        finally:
            connection.close()
        self.steps.append({"about": about, "request": request, "response": _response(reply)})
        return reply

    async def begin(
        self,
        about: str,
        on: str,
        method: str,
        target: str,
        *,
        token: str | None = None,
        **headers: str,
    ) -> None:
        """Sends a request on a connection that is called so; its answer comes later."""
        request = _request(method, target, None, "", token, headers)
        self._open[on] = await Connection.open(self._hub.port)
        await self._open[on].send(request)
        self.steps.append({"about": about, "on": on, "request": request})

    async def answer(self, about: str, on: str) -> Reply:
        """Returns the answer of the request that was begun."""
        connection = self._open.pop(on)
        reply = await connection.whole()
        connection.close()
        self.steps.append({"about": about, "on": on, "response": _response(reply)})
        return reply

    async def follow(self, about: str, on: str, *, pieces: int) -> list[str]:
        """Returns the ids of the next pieces of an answer that goes on."""
        connection = self._open[on]
        seen_before = on in self._going_on
        self._going_on.add(on)
        step: dict[str, Any] = {"about": about, "on": on}
        response: dict[str, Any] = {}
        if not seen_before:
            status, headers = await connection.head()
            response = {"status": status, "headers": _told(headers)}
        body = await connection.part(
            lambda found: found.count(b"\nid: ") >= pieces and found.endswith(b"\n\n")
        )
        if seen_before:
            step["more"] = lines_of(body)
        else:
            step["response"] = {**response, "body": lines_of(body), "goes_on": True}
        self.steps.append(step)
        return [line[4:-1] for line in lines_of(body) if line.startswith("id: ")]

    async def hang_up(self, about: str, on: str) -> None:
        """Closes a connection whose answer goes on."""
        self._open.pop(on).close()
        await self._hub.until_gone()
        self._going_on.remove(on)
        self.steps.append({"about": about, "on": on, "hang_up": True})

    async def act(self, about: str, **action: Any) -> None:
        """Has the hub's operator do something."""
        await self._hub.act(action)
        self.steps.append({"about": about, "operator": action})

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()


def _request(
    method: str,
    target: str,
    json_: Any,
    body: str,
    token: str | None,
    headers: Mapping[str, str],
) -> dict[str, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    request: dict[str, Any] = {"method": method, "target": target, "headers": sent}
    if json_ is not None:
        sent.setdefault("Content-Type", "application/json")
        body = json.dumps(json_, separators=(",", ":"), ensure_ascii=False) + "\n"
    if body:
        request["body"] = body.splitlines(keepends=True)
    return request


def _response(reply: Reply) -> dict[str, Any]:
    return {"status": reply.status, "headers": reply.headers, "body": lines_of(reply.body)}


@dataclass(frozen=True)
class Conversation:
    """What is asked of which hub."""

    name: str
    title: str
    setup: Setup
    story: Callable[[Talk], Awaitable[None]]


async def recorded(conversation: Conversation) -> dict[str, Any]:
    """Returns a conversation as it goes today."""
    setup = conversation.setup
    async with hub_of(setup) as hub:
        identity = hub.store.ledger.identity
        facts: dict[str, Any] = {
            "clock_ms": hub.clock(),
            "ledger": identity.ledger,
            "node": identity.node,
            "epoch": identity.epoch,
            "strict": list(setup.strict),
            "secret": setup.secret,
            "tokens": [dict(each) for each in setup.tokens],
            "limits": dict(setup.limits or {}),
            "seed": setup.seed,
        }
        talk = Talk(hub)
        try:
            await conversation.story(talk)
        finally:
            talk.close()
    return {"title": conversation.title, "hub": facts, "steps": talk.steps}


def text_of(recording: Mapping[str, Any]) -> str:
    """Returns a recording as the text of its file."""
    return json.dumps(recording, indent=1, ensure_ascii=False) + "\n"


# --- playing back ---------------------------------------------------------------------------------


async def play(
    recording: Mapping[str, Any], opened: Opened = in_memory
) -> AsyncGenerator[tuple[str, Any, Any]]:
    """Sends what a recording has to a new hub; gives what each step is about, what it has, and
    what has come today."""
    facts = recording["hub"]
    setup = Setup(
        facts["seed"],
        tuple(facts["strict"]),
        facts["secret"],
        tuple(facts["tokens"]),
        facts["limits"],
    )
    async with hub_of(setup, opened) as hub, AsyncExitStack() as stack:
        identity = hub.store.ledger.identity
        told = {name: facts[name] for name in ("clock_ms", "ledger", "node", "epoch")}
        yield "the hub", told, {"clock_ms": hub.clock(), **_named(identity)}
        on: dict[str, Connection] = {}
        for step in recording["steps"]:
            name = step.get("on", "")
            if "operator" in step:
                await hub.act(step["operator"])
            if "hang_up" in step:
                on[name].close()
                await hub.until_gone()
            if "request" in step:
                on[name] = await Connection.open(hub.port)
                stack.callback(on[name].close)
                await on[name].send(step["request"])
            if "response" in step:
                said = step["response"]
                if said.get("goes_on"):
                    status, headers = await on[name].head()
                    size = len("".join(said["body"]).encode())
                    body = await on[name].part(_at_least(size))
                    now = _response(Reply(status, _told(headers), body))
                    yield step["about"], said, {**now, "goes_on": True}
                else:
                    yield step["about"], said, _response(await on[name].whole())
            if "more" in step:
                size = len("".join(step["more"]).encode())
                body = await on[name].part(_at_least(size))
                yield step["about"], step["more"], lines_of(body)


def _at_least(size: int) -> Callable[[bytes], bool]:
    return lambda found: len(found) >= size


def _named(identity: Any) -> dict[str, str]:
    return {name: getattr(identity, name) for name in ("ledger", "node", "epoch")}


def recordings() -> dict[str, Any]:
    """Returns all recordings by the names of their files."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }


def main() -> None:
    """Writes all recordings anew."""
    from tests.wire.conversations import CONVERSATIONS

    known = {conversation.name for conversation in CONVERSATIONS}
    for path in FOLDER.glob("*.json"):
        if path.stem not in known:
            path.unlink()
    for conversation in CONVERSATIONS:
        text = text_of(asyncio.run(recorded(conversation)))
        (FOLDER / f"{conversation.name}.json").write_text(text, "utf-8")
        print(f"{conversation.name}.json")


if __name__ == "__main__":
    main()
