"""The proxy for bytes passes them on, cuts, and keeps back what it should."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from tests.proxies.plain import Plain


@contextmanager
def echoing(prefix: bytes = b"") -> Generator[int]:
    """A server that answers each piece that comes, with something before it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve_one(accepted: socket.socket) -> None:
        with accepted:
            try:
                while data := accepted.recv(65536):
                    accepted.sendall(prefix + data)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(accepted,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def to(proxy: Plain) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=20)


def test_bytes_pass_both_ways_until_they_are_cut() -> None:
    with echoing() as port, Plain(port) as proxy, to(proxy) as line:
        line.sendall(b"hello")
        assert line.recv(100) == b"hello"
        assert proxy.cut() == 1
        with suppress(ConnectionError):
            assert line.recv(100) == b""
        with to(proxy) as another:
            another.sendall(b"again")
            assert another.recv(100) == b"again"


def test_what_is_a_stream_of_events_is_kept_back() -> None:
    with (
        echoing(b"content-type: text/event-stream ") as port,
        Plain(port, keeps_events_back=True) as proxy,
        to(proxy) as line,
    ):
        line.sendall(b"hello")
        line.settimeout(0.3)
        with suppress(TimeoutError):
            assert not line.recv(100)
        assert proxy.kept_back == 1


def test_who_is_cut_off_while_its_line_ends_leaves_nothing_open() -> None:
    with echoing() as port, Plain(port) as proxy, to(proxy) as line:
        line.sendall(b"hello")
        assert line.recv(100) == b"hello"
        [(client, server)] = proxy._lines  # pyright: ignore[reportPrivateUsage]

        async def cut_off_as_it_ends() -> None:
            line.close()
            while proxy._lines:  # noqa: ASYNC110  # pyright: ignore[reportPrivateUsage]
                await asyncio.sleep(0)
            tasks = set(proxy._listener._tasks)  # pyright: ignore[reportPrivateUsage]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        proxy._listener.call(cut_off_as_it_ends())  # pyright: ignore[reportPrivateUsage]
        assert client.is_closing
        assert server.is_closing
