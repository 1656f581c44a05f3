"""The listener: whom it has accepted it serves, and whom it refuses it leaves alone."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from tests.proxies.listener import Listener
from tests.proxies.wire import Wire

PATIENCE_S = 20.0


async def greet(client: Wire) -> None:
    await client.write(b"hello")


def connected(listener: Listener) -> socket.socket:
    """A client; the kernel connects it before anybody has accepted it."""
    return socket.create_connection(("127.0.0.1", listener.port), PATIENCE_S)


def all_heard(client: socket.socket) -> bytes:
    heard = b""
    while some := client.recv(100):
        heard += some
    return heard


def test_whom_it_has_accepted_it_serves_although_it_refuses_from_then_on() -> None:
    """As asyncio's own server does not: it drops them, and their sockets stay open for a while."""
    listener = Listener(greet)
    listener.accept()

    async def refuse_whom_has_just_come() -> socket.socket:
        client = connected(listener)
        await asyncio.sleep(0)  # the selector looks
        await asyncio.sleep(0)  # it is accepted
        listener.refuse_here()
        return client

    try:
        with listener.call(refuse_whom_has_just_come()) as client:
            assert all_heard(client) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            connected(listener)
        listener.accept()
        with connected(listener) as client:
            assert all_heard(client) == b"hello"
    finally:
        listener.close()
    gc.collect()  # a socket that was left open is told of here


def test_whom_it_has_accepted_at_its_end_it_leaves_no_socket_of() -> None:
    for _ in range(20):
        listener = Listener(greet)
        listener.accept()
        clients = [connected(listener) for _ in range(5)]
        listener.close()
        for client in clients:
            client.close()
    gc.collect()
