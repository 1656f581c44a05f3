"""On a real socket: who is slow, too large or too many is cut off, and a stop is a clean one."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import AsyncExitStack, suppress
from itertools import count as count_from
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.core.sequencer import Append, NewEvent
from everlog.errors import InvalidInput
from everlog.server import Limits, Pattern, Server, TokenFile, serve
from everlog.wire.pieces import EventReader, PieceReader
from tests.server.calling import PATIENCE_S, SECRET, call, offered, until
from tests.server.sockets import Line, get, line_to, served

QUICK = Limits(header_s=0.3, body_s=0.3, write_s=0.3, keep_alive_s=1.0, shutdown_s=2.0)
HEAD = b"HTTP/1.1 "


async def test_who_never_ends_the_headers_is_cut_off() -> None:
    async with served(limits=QUICK) as (_, server):
        for begun in (b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "):
            async with line_to(server) as line:
                await line.send(begun)
                assert await line.rest() == b""
        async with line_to(server) as line:  # also after a request that was answered
            await line.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await line.until(b'{"status":"ok"}\n')
            await line.send(b"GET /heal")
            assert await line.rest() == b""
        assert server.connections.cut_off >= 4
        await until(lambda: len(server.connections) == 0, what="none is left")


async def test_headers_that_are_too_large_are_refused() -> None:
    async with served() as (_, server):
        reply = await get(server, "/healthz", more=f"X-Large: {'x' * 20_000}\r\n")
        assert reply.startswith(HEAD + b"431 ")
        assert b"application/problem+json" in reply
        async with line_to(server) as line:  # and where they do not even end
            with suppress(ConnectionError):
                for _ in range(40):
                    await line.send(b"GET /healthz HTTP/1.1\r\nX-Large: " + b"x" * 1_000)
            assert (await line.rest()).startswith(HEAD + b"400 ")
        reply = await get(server, "/healthz", more="no header\r\n")
        assert reply.startswith(HEAD + b"400 ")


async def test_who_never_ends_the_body_is_told_and_cut_off() -> None:
    async with served(limits=QUICK) as (_, server):
        async with line_to(server) as line:
            await line.send(
                b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                b"Content-Type: application/json\r\n\r\n{"
            )
            reply = await line.rest()
        assert reply.startswith(HEAD + b"408 ")
        assert b"connection: close" in reply.lower()


async def test_a_request_of_two_lengths_is_refused_and_nothing_behind_it_is_answered() -> None:
    async with served() as (_, server), line_to(server) as line:
        await line.send(
            b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        reply = await line.rest()
        assert reply.startswith(HEAD + b"400 ")
        assert reply.count(HEAD) == 1


async def test_who_sends_to_a_stream_that_it_follows_is_cut_off() -> None:
    async with served() as (_, server), line_to(server) as line:
        await line.send(
            b"GET /v1/pull HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await line.until(b'"up_to_date":true')
        assert server.application.answering.live == 1
        await line.send(b"4\r\nmore\r\n")
        await line.rest()
        await until(lambda: server.application.answering.live == 0, what="it follows no more")


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    async with served() as (_, server), line_to(server) as line:
        await line.send(
            b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n"
            b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
        )
        reply = await line.rest()
        assert reply.startswith(HEAD + b"413 ")  # and no 100 before it


async def test_slow_bodies_of_one_token_leave_room_for_those_of_others(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    greedy, other = (tokens.create(name, push=[Pattern()]) for name in ("greedy", "other"))
    limits = Limits(body_bytes=1_000, bodies_bytes=4_000, body_s=PATIENCE_S)

    def begun(token: str) -> bytes:
        return (
            f"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        ).encode() + b" " * 900

    async with served(limits=limits, tokens=tokens) as (_, server), AsyncExitStack() as lines:
        bodies = server.application.bodies

        async def line() -> Line:
            return await lines.enter_async_context(line_to(server))

        slow = await line()
        await slow.send(begun(greedy))
        await until(lambda: bodies.bytes == 900, what="as much is here as one may have")
        for _ in range(4):
            more = await line()
            await more.send(begun(greedy))
            answer = asyncio.create_task(more.rest())
            await until(lambda: answer.done() or bodies.bytes > 900, what="it is judged")  # noqa: B023  # it is called at once
            assert bodies.bytes == 900, "more than its share is taken in"
            assert answer.result().startswith(HEAD + b"429 ")
            assert b"retry-after: 1" in answer.result()
        also = await line()
        await also.send(begun(other))
        await until(lambda: bodies.bytes == 1_800, what="the other's is taken in")
        await slow.send(b" " * 100)  # it is no JSON, and it is answered
        await slow.until(b"invalid_message")
        await until(lambda: bodies.bytes == 900, what="its share is given back")
        again = await line()
        await again.send(begun(greedy))
        await until(lambda: bodies.bytes == 1_800, what="and may be had again")


async def test_without_tokens_an_address_has_a_share_of_the_bodies() -> None:
    limits = Limits(body_bytes=1_000, bodies_bytes=4_000)
    async with offered(limits=limits) as (_, hub):
        with hub.bodies.one() as share:
            share.whose = "127.0.0.1"
            share.add(900)
            headers = {"content-type": "application/json"}
            body = b" " * 900

            async def status(client: str) -> int:
                reply = await call(
                    hub, "POST", "/v1/append", body=body, headers=headers, client=client
                )
                return reply.status

            assert await status("127.0.0.1") == 429
            assert await status("::1") == 400  # looked at, and no JSON
        assert await status("127.0.0.1") == 400
        assert hub.bodies.bytes == 0


async def test_who_follows_and_does_not_read_is_cut_off_and_the_others_are_not() -> None:
    limits = Limits(write_s=0.5)
    async with served(limits=limits) as (store, server):
        application = server.application
        async with line_to(server, limit=1_024) as dead, line_to(server) as alive:
            request = (
                b"GET /v1/pull HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            )
            reading: Any = dead.writer.transport
            reading.pause_reading()
            await dead.send(request)
            await alive.send(request)
            await until(lambda: application.answering.live == 2, what="both follow")
            following = asyncio.create_task(records_seen(alive, 40))
            for _ in range(40):
                await append_many(store, 1, size=500_000)
            assert await following == 40
            await until(lambda: application.answering.live == 1, what="the dead one is gone")


async def records_seen(line: Line, count: int) -> int:
    """Follows a stream of events until so many records have come."""
    assert (await line.until(b"\r\n\r\n")).startswith(HEAD + b"200 ")
    reader, pieces, seen = EventReader(), PieceReader(), 0
    async with asyncio.timeout(100):
        while seen < count:
            size = int(await line.reader.readline(), 16)
            chunk = await line.reader.readexactly(size + 2)
            for sent in reader.feed(chunk[:-2]):
                piece = pieces.feed(sent.data) if sent.data else None
                seen += 0 if piece is None else len(piece.records)
    return seen


async def append_many(store: EventStore, count: int, *, size: int = 10) -> None:
    hub = store.as_hub()
    identity = hub.ledger.identity
    for _ in range(count):
        id = str(next(_ids))
        data = '{"t":"' + "x" * size + '"}'
        event = NewEvent(id, "s-1", "t", 1, "t", data, "null", id, None, bytes(32))
        await hub.append(identity.ledger, Append((event,)))


_ids = count_from(0)


async def test_more_connections_than_there_may_be_are_told_so() -> None:
    limits = Limits(connections=3)
    async with served(limits=limits) as (_, server):
        async with line_to(server), line_to(server), line_to(server):
            await until(lambda: len(server.connections) == 3, what="three are there")
            reply = await get(server, "/healthz")
            assert reply.startswith(HEAD + b"503 ")
            assert b"too many connections" in reply
        await until(lambda: len(server.connections) == 0, what="none is left")
        assert (await get(server, "/healthz")).startswith(HEAD + b"200 ")


async def test_a_stop_ends_streams_answers_what_is_in_flight_and_lets_nobody_in() -> None:
    async with EventStore.open("memory:") as store:
        serving = serve(store, port=0)
        server = await serving.__aenter__()
        async with line_to(server) as live, line_to(server) as waits, line_to(server) as half:
            await live.send(
                b"GET /v1/pull HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            )
            await live.until(b'"up_to_date":true')
            await waits.send(
                b"GET /v1/wait?position=5&timeout_s=30 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            await half.send(
                b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 57\r\n"
                b"Content-Type: application/json\r\n\r\n"
            )
            await until(lambda: len(server._uvicorn.server_state.tasks) == 3, what="all are here")  # pyright: ignore[reportPrivateUsage]
            stopping = asyncio.create_task(serving.__aexit__(None, None, None))
            assert (await waits.rest()).endswith(b'{"position":0}\n')
            assert (await live.rest()).endswith(b"0\r\n\r\n")  # the stream has ended, not broken
            await half.send(b'{"events":[{"stream":"s","type":"t","data":{"n":1}}]}    ')
            assert (await half.rest()).startswith(HEAD + b"200 ")
            await stopping
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
        assert (await store.info()).position == 1


async def test_who_does_not_end_in_time_is_cut_off_at_the_stop() -> None:
    async with EventStore.open("memory:") as store:
        async with serve(store, port=0, limits=Limits(shutdown_s=1.0)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 57\r\n"
                b"Content-Type: application/json\r\n\r\n"
            )
            await until(lambda: len(server._uvicorn.server_state.tasks) == 1, what="it is here")  # pyright: ignore[reportPrivateUsage]
        assert await asyncio.wait_for(reader.read(), 100) is not None
        writer.close()


async def test_a_stop_tells_of_those_who_are_cut_off_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EventStore.open("memory:") as store:
        async with serve(store, port=0, limits=Limits(shutdown_s=0.5)) as server:
            ended = asyncio.Event()

            async def hangs(position: int, *, timeout_s: float) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            monkeypatch.setattr(server.application.answering.news, "past", hangs)
            async with line_to(server) as body, line_to(server) as work:
                await body.send(
                    b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 57\r\n"
                    b"Content-Type: application/json\r\n\r\n{"
                )
                await work.send(b"GET /v1/wait?position=9 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await until(lambda: len(server._uvicorn.server_state.tasks) == 2, what="both are")  # pyright: ignore[reportPrivateUsage]
                server.stop()
                assert await body.rest() == await work.rest() == b""
        assert ended.is_set()
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "connections that are cut off, 0.5 s after the stop: 2")
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])
async def test_a_host_that_others_reach_needs_tokens_and_tls(host: str, tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    async with EventStore.open("memory:") as store:
        with pytest.raises(InvalidInput, match="no tokens"):
            await serve(store, host=host, port=0, behind_proxy=True).__aenter__()
        with pytest.raises(InvalidInput, match="TLS"):
            await serve(store, host=host, port=0, tokens=tokens, secret=SECRET).__aenter__()


async def test_with_tokens_and_a_proxy_it_takes_every_address(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[Pattern()])
    async with served(host="0.0.0.0", tokens=tokens, behind_proxy=True) as (_, server):
        assert (await get(server, "/v1/status")).startswith(HEAD + b"401 ")
        more = f"Authorization: Bearer {plain}\r\n"
        assert (await get(server, "/v1/status", more=more)).startswith(HEAD + b"200 ")


async def test_a_port_that_is_taken_and_a_certificate_that_is_none_are_said_so(
    tmp_path: Path,
) -> None:
    async with served() as (store, server):
        with pytest.raises(InvalidInput, match=str(server.port)):
            await serve(store, port=server.port).__aenter__()
        with pytest.raises(InvalidInput, match="certificate"):
            await serve(store, port=0, certificate=tmp_path / "none.pem").__aenter__()


def make(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


async def certified(folder: Path) -> dict[str, Any]:
    made = await asyncio.to_thread(
        make,
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "hub.pem")),
    )
    assert made.returncode == 0, made.stderr
    return {"certificate": folder / "hub.pem", "key": folder / "key.pem"}


async def over_tls(server: Server, certificate: Path, path: str = "/healthz") -> bytes:
    """The whole answer to a GET."""
    context = ssl.create_default_context(cafile=str(certificate))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
    )
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    return reply


async def test_it_speaks_tls(tmp_path: Path) -> None:
    files = await certified(tmp_path)
    async with served(**files) as (_, server):
        assert server.url.startswith("https://")
        for _ in range(20):
            assert (await over_tls(server, files["certificate"])).startswith(HEAD + b"200 ")
        async with line_to(server) as line:  # who does not
            await line.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert HEAD not in await line.rest()
        await until(lambda: len(server.connections) == 0, what="none is left")


async def test_who_never_ends_the_handshake_counts_and_is_cut_off(tmp_path: Path) -> None:
    files = await certified(tmp_path)
    limits = Limits(connections=3, header_s=0.5)
    async with served(limits=limits, **files) as (_, server):
        async with line_to(server) as one, line_to(server) as two, line_to(server) as three:
            await until(lambda: len(server.connections) == 3, what="all three count")
            async with line_to(server) as more:
                assert await more.rest() == b""
            for line in (one, two, three):
                assert await line.rest() == b""
        assert server.connections.cut_off == 3
        await until(lambda: len(server.connections) == 0, what="none is left")
        assert (await over_tls(server, files["certificate"])).startswith(HEAD + b"200 ")
