"""What has been appended is on the disk: settings, and syncs counted from outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.adapters.sqlite.ledger import SqliteLedger
from tests.scenarios.programs import EVENTS, Moved
from tests.scenarios.syncs import Counter, usable

COMMITS = 40


@pytest.mark.parametrize(("durability", "synchronous"), [(None, 2), ("full", 2), ("relaxed", 1)])
def test_the_connection_that_writes_syncs_fully_unless_told_otherwise(
    tmp_path: Path, durability: str | None, synchronous: int
) -> None:
    async def main() -> None:
        options: dict[str, Any] = {} if durability is None else {"durability": durability}
        url = f"sqlite:///{tmp_path}/log.db"
        async with EventStore.open(url, events=EVENTS, **options) as store:
            await store.append("stream", Moved(0, 0))
            assert isinstance(store.ledger, SqliteLedger)
            assert await store.ledger.writer_pragma("synchronous") == synchronous
            assert await store.ledger.writer_pragma("journal_mode") == "wal"
            assert await store.ledger.writer_pragma("mmap_size") == 0

    asyncio.run(main())


def test_durability_can_be_relaxed_in_the_url_and_only_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/log.db?durability=relaxed"
        async with EventStore.open(url, events=EVENTS) as store:
            assert isinstance(store.ledger, SqliteLedger)
            assert await store.ledger.writer_pragma("synchronous") == 1

    asyncio.run(main())


def test_every_commit_is_synced_at_least_once_and_a_relaxed_one_is_seen_not_to_be(
    tmp_path: Path,
) -> None:
    counters = usable(tmp_path)
    print(f"counted by: {', '.join(counters)}")
    assert counters, "no way to count syncs here: no strace, no compiler, no SQLite to reach"
    for name, syncs in counters.items():
        assert _of_commits(syncs, tmp_path / name, "full") >= COMMITS, name
        # The test of the test: the same counter sees when syncs are missing.
        assert _of_commits(syncs, tmp_path / name, "relaxed") < COMMITS / 4, name


def _of_commits(syncs: Counter, path: Path, durability: str) -> int:
    # What opening and closing cost is taken away: it says nothing about commits.
    idle = syncs(path.with_suffix(f".{durability}-idle"), 0, durability)
    busy = syncs(path.with_suffix(f".{durability}"), COMMITS, durability)
    print(f"{path.name}, {durability}: {busy} syncs with {COMMITS} commits, {idle} without")
    assert idle > 0, "the new ledger itself is synced: otherwise nothing is counted"
    return busy - idle
