"""Verifying a log of which a part went: no damage, and what is damaged all the same."""

from __future__ import annotations

import pytest

from everlog.core.sequencer import Import
from everlog.core.taking import Note, Purge
from everlog.ports.ledger import Ledger, Request
from everlog.store.verifying import Verification, verify
from everlog.testing import FakeClock
from everlog.testing.contract.committing import append, new
from everlog.testing.contract.scene import NOON_MS
from everlog.testing.contract.synchronising import HUB, History
from tests.adapters.test_checking_unfolded import Log, empty_log

__all__ = ["empty_log"]

MISSING = "its content is missing, and was not let go"
ERASE = "UPDATE {} SET nonce = NULL, data = NULL, meta = NULL"


@pytest.fixture
def log(empty_log: Log) -> Log:
    """Has three records, of which the content of the second went."""

    async def work(ledger: Ledger) -> None:
        async def commit(request: Request) -> None:
            [outcome] = await ledger.commit([request])
            assert not isinstance(outcome, Exception), outcome

        await commit(append(new("1"), new("2", "b"), new("3")))
        rows = [row for row in await ledger.find(["1", "2", "3"]) if row is not None]
        hub = History()
        hub.add(Import(tuple(rows)))
        await commit(hub.piece(scope="a")._replace(records=(hub.records[0], hub.records[2])))
        await commit(Note(HUB, hub.at(3), (("2", 2),)))
        await commit(Purge(HUB, hub.at(3), 3, ("2",)))

    empty_log.with_ledger(FakeClock(NOON_MS), work)
    return empty_log


def verified(log: Log) -> Verification:
    async def work(ledger: Ledger) -> Verification:
        return await verify(ledger, None)

    return log.with_ledger(FakeClock(NOON_MS), work)


def test_a_log_of_which_a_part_went_is_whole(log: Log) -> None:
    verification = verified(log)
    assert verification.problems == ()
    assert (verification.records, verification.tombstones) == (3, 1)


def test_content_that_is_missing_and_was_not_let_go_is_told(log: Log) -> None:
    log.change(ERASE.format("records") + " WHERE position = 1")
    problems = verified(log).problems
    assert [(problem.position, problem.what) for problem in problems] == [(1, MISSING)]


@pytest.mark.parametrize("column", ["nonce", "data", "meta"])
def test_content_of_which_a_part_is_missing_is_told(log: Log, column: str) -> None:
    log.change(f"UPDATE records SET {column} = NULL WHERE position = 3")
    problems = verified(log).problems
    assert any(problem.position == 3 for problem in problems), problems


def test_what_went_cannot_be_taken_for_another(log: Log) -> None:
    log.change("UPDATE records SET hash = chain WHERE position = 2")
    assert [problem.what for problem in verified(log).problems] == ["the chain breaks here"]
