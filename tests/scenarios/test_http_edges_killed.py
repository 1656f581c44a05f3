"""A hub and its edges over HTTP, while all are killed, cut off or set back: they become one."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.errors import SyncError
from everlog.sync.edge import Round
from everlog.testing import PostgresServer
from tests.proxies.plain import Plain
from tests.scenarios.processes import Process, environment
from tests.scenarios.synchronising import EVENTS, STREAMS, effects_left, mailing, numbers
from tests.scenarios.test_sync_killed import PATIENCE_S, Role, receiver_at

EDGES = 4
FAULTS = ("edge killed", "hub killed", "edge restored from a copy", "connections cut")
LEAST = 10
"""So often each of them happens, at least."""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        port: int = bound.getsockname()[1]
    return port


class Hub:
    """`everlog serve`, at the same port whenever it is started."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.port = free_port()
        secret = folder / "hub.secret"
        secret.touch(mode=0o600)
        secret.write_text("5ec7e7" * 8)
        self._command = [sys.executable, "-m", "everlog", "serve", url, "--port", str(self.port)]
        self._command += ["--secret-file", str(secret)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it, and returns when it serves."""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("serving on")

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Edge(Role):
    """An edge whose process is killed, and whose files are put back to what they were once."""

    def __init__(self, path: Path, hub: str, receiver: str, seed: str) -> None:
        self.url = f"sqlite:///{path}"
        self.said: list[str] = []
        """The ids of what was acknowledged, in order."""
        self.lost: set[str] = set()
        """Those of them that a copy which was put back may not have."""
        self._path = path
        self._copy = path.with_name(f"{path.name}.copy")
        self._said_then = 0
        self._lock = threading.Lock()
        super().__init__(
            lambda nr: Process(
                "be_an_edge",
                edge=self.url,
                hub=hub,
                receiver=receiver,
                by=f"{path.stem}-{nr}",
                seed=f"{seed}-{nr}",
            ),
            self._hear,
        )

    def _hear(self, ids: list[str]) -> None:
        with self._lock:
            self.said += ids

    def copy(self) -> None:
        """Kills it, copies its files as they are then, and starts it again."""
        # Who is put back to nothing is another ledger, and nobody has the effects of the first.
        self.wait_until_begun()
        super().kill(again=False)
        shutil.rmtree(self._copy, ignore_errors=True)
        self._copy.mkdir()
        for file in self._files():
            shutil.copyfile(file, self._copy / file.name)
        self._said_then = len(self.said)
        self.process = self._next()

    def restore(self) -> bool:
        """Kills it, and starts it again over the copy; returns whether there was one."""
        if not self._copy.exists():
            self.copy()
            return False
        super().kill(again=False)
        for file in self._files():
            file.unlink()
        for file in self._copy.iterdir():
            shutil.copyfile(file, self._path.parent / file.name)
        self.lost |= {*self.said[self._said_then :]}
        self.process = self._next()
        return True

    def _files(self) -> list[Path]:
        """The log, its read models, and what SQLite has beside each."""
        stem = self._path.stem
        names = [f"{stem}.db", f"{stem}.views.db"]
        all_names = [f"{name}{end}" for name in names for end in ("", "-wal", "-shm")]
        return [file for name in all_names if (file := self._path.with_name(name)).exists()]


@pytest.mark.once
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kind", "for_s"),
    [
        ("sqlite", 30.0),
        pytest.param("sqlite", 300.0, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
        pytest.param("postgres", 300.0, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ],
)
def test_a_hub_and_its_edges_become_one_whatever_befalls_them(
    kind: str, for_s: float, tmp_path: Path, rng: random.Random, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("durable_postgres")
        url = server.new_database()
    receiver = receiver_at(tmp_path / "receiver.db")
    hub, counts = Hub(url, tmp_path), Counter[str]()
    acknowledged: set[str] = set()
    hub.start()
    edges: list[Edge] = []
    writer: Role | None = None
    seed = str(rng.random())
    with Plain(hub.port) as proxy:
        try:
            for number in range(EDGES):
                path = tmp_path / f"edge{number}.db"
                edges.append(Edge(path, proxy.url, receiver, f"{seed}-{number}"))
            writer = Role(
                lambda nr: Process("write_notes", url=url, by=f"hub-{nr}", seed=f"{seed}-hub-{nr}"),
                acknowledged.update,
            )
            begun = time.monotonic()
            while time.monotonic() < begun + for_s or min(counts[each] for each in FAULTS) < LEAST:
                assert time.monotonic() < begun + for_s + 4 * PATIENCE_S, counts
                least = min(counts[each] for each in FAULTS)
                fault = rng.choice([each for each in FAULTS if counts[each] <= least + 3])
                time.sleep(rng.uniform(0, 0.3))
                edge = rng.choice(edges)
                if rng.random() < 0.7:  # the others are killed wherever they have got to
                    edge.wait_until_begun()
                match fault:
                    case "edge killed":
                        edge.copy() if rng.random() < 0.3 else edge.kill()
                        counts[fault] += 1
                    case "hub killed":
                        hub.kill()
                        time.sleep(rng.uniform(0, 0.5))
                        hub.start()
                        counts[fault] += 1
                    case "edge restored from a copy":
                        counts[fault] += edge.restore()
                    case _:
                        counts[fault] += proxy.cut() > 0
        finally:
            for role in (*edges, *([] if writer is None else [writer])):
                role.kill(again=False)
            proxy.cut()
        lost = {id for edge in edges for id in edge.lost}
        acknowledged |= {id for edge in edges for id in edge.said} - lost
        try:
            urls = [edge.url for edge in edges]
            events = asyncio.run(_judged(url, urls, proxy.url, receiver, acknowledged))
        finally:
            hub.kill()
    print(f"{events} events, {len(acknowledged)} acknowledged, {dict(counts)}")
    assert events > 100


async def _judged(
    hub: str, edges: list[str], address: str, receiver: str, acknowledged: set[str]
) -> int:
    """Brings all into step and asserts that they are one; returns how many events they have."""
    async with AsyncExitStack() as stack:
        there, *here = [
            await stack.enter_async_context(EventStore.open(url, events=EVENTS))
            for url in (hub, *edges)
        ]
        for _ in range(2):  # what the last has brought, the first has after its second turn
            for store in here:
                done = await _once(store, address)
                assert (done.in_step, done.held) == (True, 0)
        stores = [there, *here]
        for store in stores:
            projector = mailing(store.ledger.identity.ledger, receiver)
            async with store.subscription("mail", projector, from_="beginning") as subscription:
                await subscription.caught_up(timeout_s=PATIENCE_S)
                deadline = time.monotonic() + PATIENCE_S
                while await effects_left(store):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
        ledgers: list[set[str]] = []
        for store in stores:
            ids = [record.id async for record in store.read()]
            assert len(ids) == len({*ids})
            ledgers.append({*ids})
            verification = await store.verify()
            assert verification.ok, verification.problems
        assert all(ledger == ledgers[0] for ledger in ledgers)
        assert acknowledged <= ledgers[0]
        for stream in (f"s-{number}" for number in range(STREAMS)):
            first, *others = [str(await store.reduce(numbers, stream)) for store in stores]
            assert all(other == first for other in others), stream
        with closing(sqlite3.connect(receiver)) as file:
            calls = {*file.execute("SELECT key, ledger FROM calls").fetchall()}
        # Each effect at one ledger alone, that of its birth; more than once only by the same key.
        assert len({key for key, _ in calls}) == len(calls)
        notes = {
            (record.idempotency_key, record.origin)
            async for record in there.read()
            if record.type == "synchronising:noted"
        }
        origins = {store.ledger.identity.ledger for store in stores}
        assert {origin for _, origin in notes} <= origins, "an edge has begun anew"
        # What an edge has lost before it was pushed is nowhere, and may have had its effect.
        assert notes <= calls
        return len(ledgers[0])


async def _once(store: EventStore, address: str) -> Round:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await store.sync(address).once()
        except SyncError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


@pytest.mark.once
@pytest.mark.timeout(300)
def test_what_any_edge_held_is_back_soon_after_a_hub_was_set_back(
    tmp_path: Path, rng: random.Random
) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    receiver = receiver_at(tmp_path / "receiver.db")
    hub = Hub(url, tmp_path)
    hub.start()
    edges: list[Edge] = []
    try:
        for number in range(EDGES):
            path = tmp_path / f"edge{number}.db"
            edges.append(Edge(path, f"http://127.0.0.1:{hub.port}", receiver, str(rng.random())))
        for edge in edges:
            edge.wait_until_begun()
        hub.kill()
        for end in ("", "-wal", "-shm"):
            if (file := tmp_path / f"hub.db{end}").exists():
                shutil.copyfile(file, tmp_path / f"copy{end}")
        hub.start()
        time.sleep(10)  # what is written meanwhile is what the hub loses
        hub.kill()
        wanted = {id for n in range(EDGES) for id in _ids(tmp_path / f"edge{n}.db")}
        lost = len(_ids(tmp_path / "hub.db"))
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"hub.db{end}").unlink(missing_ok=True)
            if (file := tmp_path / f"copy{end}").exists():
                shutil.copyfile(file, tmp_path / f"hub.db{end}")
        lost -= len(_ids(tmp_path / "hub.db"))
        begun = time.monotonic()
        hub.start()
        while not wanted <= _ids(tmp_path / "hub.db"):
            assert time.monotonic() < begun + 30, "it is not back"
            time.sleep(0.1)
        took_s = time.monotonic() - begun
    finally:
        for edge in edges:
            edge.kill(again=False)
        hub.kill()
    print(f"{lost} events were lost, {len(wanted)} were wanted, and back after {took_s:.1f} s")
    assert lost > 20


def _ids(path: Path) -> set[str]:
    """The ids of all records in the file of a store, whoever writes to it."""
    with closing(sqlite3.connect(path, timeout=30)) as file:
        return {id for (id,) in file.execute("SELECT id FROM records")}
