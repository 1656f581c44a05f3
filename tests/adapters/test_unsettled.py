"""What is remembered of writes whose outcome is unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.relation import Relate
from everlog.ports import unsettled
from everlog.ports.unsettled import Unsettled
from tests.store.watched import run

FIRST, SECOND, THIRD = (Relate(add=(("team", name),)) for name in ("one", "two", "three"))


def test_a_write_of_unknown_outcome_is_remembered_until_one_is_written_over_it() -> None:
    memory = Unsettled()
    memory.add([FIRST, SECOND])
    assert memory.has_one_of([THIRD, Relate(add=(("team", "one"),))])
    assert not memory.has_one_of([THIRD])
    memory.clear()
    assert not memory.has_one_of([FIRST])


def test_a_disk_that_is_broken_for_good_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unsettled, "AT_MOST", 2)
    memory = Unsettled()
    for request in (FIRST, SECOND, THIRD):
        memory.add([request])
    assert not memory.has_one_of([FIRST])
    assert memory.has_one_of([SECOND])
    assert memory.has_one_of([THIRD])


def test_a_commit_that_writes_nothing_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Unsettled()

    def shared() -> Unsettled:
        return memory

    monkeypatch.setattr("everlog.adapters.sqlite.writing.Unsettled", shared)

    async def main() -> None:
        ledger = await SqliteLedger.open(str(tmp_path / "log.db"))
        try:
            await ledger.commit([SECOND])
            memory.add([FIRST])
            await ledger.commit([SECOND])  # it is there: nothing comes into the WAL
            assert memory.has_one_of([FIRST])
            await ledger.commit([THIRD])  # written over it
            assert not memory.has_one_of([FIRST])
        finally:
            await ledger.close()

    run(main)
