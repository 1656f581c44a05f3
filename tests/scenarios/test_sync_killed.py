"""Two ledgers are kept in step while everybody who touches them is killed: they become one."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.testing import PostgresServer
from tests.scenarios.processes import Process
from tests.scenarios.synchronising import EVENTS, STREAMS, effects_left, mailing, numbers

PATIENCE_S = 60.0


class Role:
    """A process that is started again whenever it was killed, and what all of them have said."""

    def __init__(self, start: Callable[[int], Process], heard: Callable[[Any], None]) -> None:
        self._start = start
        self._heard = heard
        self.kills = 0
        self.process = self._next()

    def _next(self) -> Process:
        self._has_begun = threading.Event()
        process = self._start(self.kills)
        self._listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
        self._listener.start()
        return process

    def _listen(self, process: Process) -> None:
        while (line := process.hear()) is not None:
            self._heard(line)
            self._has_begun.set()

    def wait_until_begun(self) -> None:
        """Returns when the process has said something."""
        assert self._has_begun.wait(PATIENCE_S)

    def kill(self, *, again: bool = True) -> None:
        self.process.kill()
        self._listener.join(PATIENCE_S)
        self.process.__exit__(None, None, None)
        self.kills += 1
        if again:
            self.process = self._next()


def receiver_at(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA journal_mode = wal")
        file.execute("CREATE TABLE calls (key, ledger)")
    return str(path)


@pytest.fixture(params=["sqlite to postgres", "postgres to sqlite", "sqlite to sqlite"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, PostgresServer | None]:
    file, other = (f"sqlite:///{tmp_path / name}.db" for name in ("one", "other"))
    if request.param == "sqlite to sqlite":
        return file, other, None
    server: PostgresServer = request.getfixturevalue("durable_postgres")
    url = server.new_database()
    return (file, url, server) if request.param == "sqlite to postgres" else (url, file, server)


@pytest.mark.once
@pytest.mark.parametrize(
    "for_s", [6.0, pytest.param(60.0, marks=[pytest.mark.soak, pytest.mark.timeout(0)])]
)
def test_two_ledgers_become_one_whoever_is_killed(
    urls: tuple[str, str, PostgresServer | None],
    tmp_path: Path,
    rng: random.Random,
    for_s: float,
) -> None:
    edge, hub, server = urls
    receiver = receiver_at(tmp_path / "receiver.db")
    acknowledged: set[str] = set()
    in_step: list[Any] = []

    def writer(url: str, by: str) -> Role:
        seed = rng.random()
        return Role(
            lambda nr: Process("write_notes", url=url, by=f"{by}-{nr}", seed=f"{seed}-{nr}"),
            acknowledged.update,
        )

    roles = [
        writer(edge, "edge"),
        writer(hub, "hub"),
        *(
            Role(
                lambda nr: Process("keep_in_step", edge=edge, hub=hub, receiver=receiver),
                in_step.append,
            )
            for _ in range(2)
        ),
    ]
    begun, servers = time.monotonic(), 0
    try:
        while time.monotonic() < begun + for_s or min(role.kills for role in roles) < 2:
            assert time.monotonic() < begun + for_s + PATIENCE_S, [role.kills for role in roles]
            role = rng.choice(roles)
            if rng.random() < 0.8:  # the others are killed wherever they have got to
                role.wait_until_begun()
            time.sleep(rng.uniform(0, 0.5))
            role.kill()
            if server is not None and rng.random() < 0.1 + (servers == 0):
                server.kill()
                time.sleep(rng.uniform(0, 0.1))
                server.start()
                servers += 1
    finally:
        for role in roles:
            role.kill(again=False)
    events = asyncio.run(_judged(edge, hub, receiver, acknowledged))
    print(
        f"{events} events, {len(acknowledged)} acknowledged, kills {[r.kills for r in roles]}, "
        f"of the server {servers}, {in_step.count('in step')} times in step meanwhile"
    )
    assert events > 50


async def _judged(edge: str, hub: str, receiver: str, acknowledged: set[str]) -> int:
    """Brings both into step and asserts that they are one; returns how many events they have."""
    async with (
        EventStore.open(edge, events=EVENTS) as one,
        EventStore.open(hub, events=EVENTS) as other,
    ):
        done = await one.sync(other).once()
        assert done.in_step
        assert done.held == 0
        ledgers: list[set[str]] = []
        for store in (one, other):
            projector = mailing(store.ledger.identity.ledger, receiver)
            async with store.subscription("mail", projector, from_="beginning") as subscription:
                await subscription.caught_up()
                deadline = time.monotonic() + PATIENCE_S
                while await effects_left(store):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
            ids = [record.id async for record in store.read()]
            assert len(ids) == len({*ids})
            ledgers.append({*ids})
            verification = await store.verify()
            assert verification.ok, verification.problems
        assert ledgers[0] == ledgers[1]
        assert acknowledged <= ledgers[0]
        for stream in (f"s-{number}" for number in range(STREAMS)):
            assert await one.reduce(numbers, stream) == await other.reduce(numbers, stream), stream
        # Each effect at one ledger alone, that of its birth; more than once only by the same key.
        with closing(sqlite3.connect(receiver)) as file:
            calls = Counter(file.execute("SELECT key, ledger FROM calls").fetchall())
        notes = {
            (record.idempotency_key, record.origin)
            async for record in one.read()
            if record.type == "synchronising:noted"
        }
        born = {
            (record.idempotency_key, record.origin)
            for store in (one, other)
            async for record in store.read()
            if record.type == "synchronising:noted" and not record.hydrated
        }
        assert {*calls} == born == notes
        return len(ledgers[0])
