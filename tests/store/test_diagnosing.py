"""`store.diagnose`: each trouble that is planted is found, and nothing where there is none."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everlog import EventStore, Finding, Projector, SubscriptionStatus, retry
from everlog.adapters.postgres import examining as postgres
from everlog.adapters.sqlite import examining as sqlite
from everlog.adapters.sqlite.connections import Place
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.taking import BEGINNING, Held, Hold, Rewind
from everlog.errors import HandlerFailed
from everlog.store.diagnosing import diagnose
from everlog.testing import PostgresServer
from tests.store.programs import EVENTS, Bare


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def codes(findings: Sequence[Finding]) -> list[str]:
    """Returns what was found, but for what is said of every store on an affected SQLite."""
    return [f"{each.severity} {each.code}" for each in findings if each.code != "sqlite-build"]


def found(findings: Sequence[Finding], code: str) -> Finding:
    [one] = [each for each in findings if each.code == code]
    return one


async def settled(store: EventStore, is_so: Callable[[SubscriptionStatus], bool]) -> None:
    """Waits until the one subscription is as it is to be."""
    async with asyncio.timeout(60):
        while True:
            statuses = await store.subscriptions.status()
            if statuses and is_so(statuses[0]):
                return
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """However full the disk of this machine is, that is not what is planted."""
    monkeypatch.setattr(sqlite, "FEW_BYTES", 0)
    monkeypatch.setattr(sqlite, "LITTLE_ROOM", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


# --- nothing ---


def test_nothing_is_found_where_nothing_is_wrong_and_looking_leaves_nothing_behind(
    path: Path,
) -> None:
    async def main() -> None:
        for url in ("memory:", path):
            async with EventStore.open(url, events=EVENTS) as store:
                await store.append("a", Bare("x"))
                assert codes(await store.diagnose(verify=True)) == []
                assert await store.subscriptions.status() == []
                assert await store.subscriptions.parked() == []
                assert await store.subscriptions.effects() == []
        assert not path.with_name("log.views.db").exists(), "who looks makes no file"

    run(main)


# --- clocks ---


def test_a_clock_that_is_behind_the_log_is_found(path: Path) -> None:
    async def main() -> None:
        now = time.time_ns() // 1_000_000
        async with EventStore.open(path, events=EVENTS, clock=lambda: now) as store:
            await store.append("a", Bare("x"))
        for behind_ms, expected in (
            (0, []),
            (1_500, []),
            (30_000, ["warning clock"]),
            (7_200_000, ["trouble clock"]),
        ):
            assert codes(await _diagnosed(path, now - behind_ms)) == expected
        assert "2 h ahead" in found(await _diagnosed(path, now - 7_200_000), "clock").what

    run(main)


async def _diagnosed(path: Path, now: int) -> list[Finding]:
    async with EventStore.open(path, clock=lambda: now) as store:
        return await store.diagnose()


# --- subscriptions ---


def failing() -> Projector:
    projector = Projector()

    @projector.on(Bare)
    async def fail(record: object) -> None:
        raise ValueError("no such column")

    return projector


def passing() -> Projector:
    projector = Projector()

    @projector.on(Bare)
    async def ignore(record: object) -> None: ...

    return projector


def test_a_parked_record_is_found(path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS) as store:
            await store.append("a", Bare("x"), Bare("y"))
            async with store.subscription("view", failing(), on_error="park"):
                await settled(store, lambda status: status.parked == 1 and status.lag == 0)
                finding = found(await store.diagnose(), "parked")
            assert finding.severity == "trouble"
            assert "'view' has 1 record parked, and 1 behind" in finding.what
            assert "everlog subscriptions parked" in finding.advice

    run(main)


def test_a_record_that_is_tried_again_is_found(path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS) as store:
            await store.append("a", Bare("x"))
            async with store.subscription("view", failing(), on_error=retry(times=1_000)):
                await settled(store, lambda status: status.retrying == 1)
                assert "warning retrying" in codes(await store.diagnose())

    run(main)


def test_a_subscription_that_stopped_and_one_that_nobody_runs_are_found(path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS) as store:
            async with store.subscription("view", passing()) as subscription:
                await subscription.caught_up()
            assert codes(await store.diagnose()) == [], "it is not behind"
            await store.append("a", Bare("x"))
            finding = found(await store.diagnose(), "not-running")
            assert "'view' is 1 record behind" in finding.what
            stopping = store.subscription("view", failing(), on_error="stop")
            with pytest.raises(HandlerFailed):
                async with stopping:
                    await settled(store, lambda status: bool(status.error))
            assert codes(await store.diagnose()) == ["trouble stopped", "trouble not-running"]
            assert "no such column" in found(await store.diagnose(), "stopped").what

    run(main)


HEALTHY = SubscriptionStatus(
    name="view",
    position=10,
    lag=0,
    lag_s=0.0,
    version=1,
    slices=1,
    workers=("host:1:aa",),
    parked=0,
    retrying=0,
    behind=0,
    error="",
)
PLANTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "a little behind": ({"lag": 5, "lag_s": 3.0}, []),
    "far behind": ({"lag": 5000, "lag_s": 600.0}, ["warning lag"]),
    "nobody at work": ({"lag": 1, "lag_s": 0.0, "workers": ()}, ["trouble not-running"]),
    "others wait": ({"waiting": ("host:2:bb",)}, ["warning other-handlers"]),
    "ambiguous": ({"ambiguous_effects": 2}, ["trouble ambiguous"]),
    "effects parked": ({"parked_effects": 1}, ["trouble parked-effects"]),
    "owed just now": ({"pending_effects": 3, "oldest_effect_s": 4.0}, []),
    "owed for long": ({"pending_effects": 3, "oldest_effect_s": 4000.0}, ["warning owed"]),
    "all at once, the worst first": (
        {"waiting": ("host:2:bb",), "parked": 1, "retrying": 1, "error": "x"},
        ["trouble stopped", "trouble parked", "warning retrying", "warning other-handlers"],
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_a_status_shows_is_said_in_words(case: str) -> None:
    change, expected = PLANTED[case]

    async def main() -> None:
        async with EventStore.open("memory:") as store:
            findings = await diagnose(
                store.ledger,
                [replace(HEALTHY, **change)],
                None,
                now_ms=lambda: 0,
                max_offset_ms=60_000,
            )
        assert codes(findings) == expected
        assert all("'view'" in each.what for each in findings)
        assert all(each.advice for each in findings)

    run(main)


# --- sync ---


def test_what_a_hub_does_not_take_is_found() -> None:
    async def main() -> None:
        async with EventStore.open("memory:") as store:
            held = (
                Held("e1", "a", "clock_ahead", "its clock runs ahead", since_ms=1),
                Held("e2", "b", "rejected", "only the hub appends", since_ms=1),
                Held("e3", "c", "rejected", "only the hub appends", since_ms=1),
            )
            heard_of = Rewind("ab" * 16, "cd" * 8, BEGINNING, BEGINNING)
            await store.ledger.commit([heard_of, Hold("ab" * 16, held)])
            findings = await store.diagnose()
            assert codes(findings) == ["trouble clock", "trouble held"]
            assert "its clock runs ahead" in findings[0].what
            assert "2 records" in findings[1].what
            assert "only the hub appends" in findings[1].what

    run(main)


# --- SQLite ---


def test_what_is_unsafe_at_a_file_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS, durability="relaxed") as store:
            await store.append("a", Bare("x"))
            assert codes(await store.diagnose()) == ["warning durability"]
            os.chmod(path, 0o644)
            finding = found(await store.diagnose(), "permissions")
            assert "0644" in finding.what
            assert f"chmod 600 {path}" in finding.advice
            os.chmod(path, 0o600)
            with monkeypatch.context() as planted:
                planted.setattr(sqlite, "WAL_BYTES", 100)
                assert "warning wal" in codes(await store.diagnose())
            with monkeypatch.context() as planted:
                planted.setattr(sqlite, "FEW_BYTES", 2**60)
                assert "trouble room" in codes(await store.diagnose())
            mounts = path.with_name("mounts")
            mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {path.parent} nfs4 rw 0 0\n")
            with monkeypatch.context() as planted:
                planted.setattr(sqlite, "_MOUNTS", mounts)
                finding = found(await store.diagnose(), "network-disk")
                assert "(nfs4)" in finding.what
            assert codes(await store.diagnose()) == ["warning durability"]

    run(main)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["/dev/sda / ext4 rw"], "ext4"),
        (["/dev/sda / ext4 rw", "h:/x /data nfs rw"], "nfs"),
        (["h:/x /data nfs rw", "/dev/sda / ext4 rw"], "nfs"),
        (["/dev/sda / ext4 rw", "h:/x /dat nfs rw"], "ext4"),
        (["h:/x /data nfs rw", "/dev/sdb /data xfs rw"], "xfs"),
        (["/dev/sda / ext4 rw", r"h:/x /data/my\040logs cifs rw"], "cifs"),
        (["nonsense", ""], ""),
    ],
)
def test_the_file_system_of_a_path_is_that_which_is_mounted_nearest(
    lines: list[str], kind: str
) -> None:
    path = "/data/my logs/log.db" if kind == "cifs" else "/data/log.db"
    assert sqlite.kind_of_file_system(lines, path) == kind


def test_an_affected_build_of_sqlite_is_found(path: Path) -> None:
    async def main() -> None:
        for affected in (True, False):
            ledger = await SqliteLedger.open(str(path), guard_checkpoints=affected)
            findings = await ledger.examine(now_ms=lambda: 0)
            await ledger.close()
            assert [each.code for each in findings] == ["sqlite-build"] * affected
            assert all(sqlite3.sqlite_version in each.what for each in findings)

    run(main)


def test_a_file_without_a_wal_is_found(path: Path) -> None:
    path.touch(0o600)
    connection = sqlite3.connect(path)
    place = Place(str(path), "full", 1.0, checkpoints_race=False)
    assert codes(sqlite.examine(connection, place)) == ["trouble journal"]
    connection.close()


def test_damage_is_found_where_it_is_looked_for(path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS) as store:
            await store.append("a", Bare("x"), Bare("y"))
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER records_are_never_changed")
            connection.execute("UPDATE records SET data = '\"z\"' WHERE position = 2")
        connection.close()
        async with EventStore.open(path) as store:
            assert codes(await store.diagnose()) == []
            finding = found(await store.diagnose(verify=True), "damage")
            assert "at position 2" in finding.what

    run(main)


# --- PostgreSQL ---


def test_what_is_unsafe_at_a_server_is_found(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            # That of the tests is fast, and not durable.
            assert codes(await store.diagnose()) == ["trouble fsync", "trouble full-page-writes"]
            with psycopg.connect(url) as forgotten:
                forgotten.execute("SELECT 1")
                with monkeypatch.context() as planted:
                    planted.setattr(postgres, "OPEN_S", -60)
                    finding = found(await store.diagnose(), "open-transaction")
                assert "1 transaction" in finding.what
            monkeypatch.setattr(postgres, "OLD_TRANSACTIONS", -1)
            assert "trouble wraparound" in codes(await store.diagnose())
        for ahead_s, says in ((6_000, "s ahead of the server"), (-6_000, "s behind the server")):

            def clock(ahead_s: int = ahead_s) -> int:
                return time.time_ns() // 1_000_000 + ahead_s * 1000

            async with EventStore.open(url, clock=clock) as store:
                finding = found(await store.diagnose(), "clock")
            assert says in finding.what
            [seconds] = re.findall(r"clock is (\d+) s", finding.what)
            assert 5_000 < int(seconds) < 7_000

    run(main)


def test_what_a_server_says_of_itself_is_judged() -> None:
    asked = postgres.examine(lambda: 0)
    next(asked)
    with pytest.raises(StopIteration) as ended:
        asked.send([[("on", "off", True, 0, 0, None, 5)]])
    assert codes(ended.value.value) == ["trouble full-page-writes", "trouble standby"]


@pytest.mark.parametrize(
    ("begun_ms", "server_ms", "ended_ms", "expected"),
    [
        (0, 0, 0, []),
        (0, 30_000, 60_000, []),  # it took a minute: nobody can tell
        (0, 1_500, 0, []),
        (0, 61_000, 60_000, []),
        (0, 65_000, 60_000, ["5 s behind"]),
        (10_000, 4_000, 60_000, ["6 s ahead of"]),
    ],
)
def test_a_server_that_is_slow_to_answer_is_no_wrong_clock(
    begun_ms: int, server_ms: int, ended_ms: int, expected: list[str]
) -> None:
    times = iter([begun_ms, ended_ms])
    asked = postgres.examine(lambda: next(times))
    next(asked)
    with pytest.raises(StopIteration) as ended:
        asked.send([[("on", "on", False, server_ms, 0, None, 5)]])
    findings: list[Finding] = ended.value.value
    assert len(findings) == len(expected)
    assert all(says in each.what for each, says in zip(findings, expected, strict=True))
