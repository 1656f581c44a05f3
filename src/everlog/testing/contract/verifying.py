"""Verifying: whatever was changed is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from everlog.core.record import StoredRecord, computed_hash
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head
from everlog.ports.ledger import Ledger
from everlog.testing.contract.events import Noted
from everlog.testing.contract.folding import arrive, at
from everlog.testing.contract.scene import Contract, Scene, contract_test, history

Change = Callable[[list[StoredRecord]], list[StoredRecord]]


def at_7(**changes: Any) -> Change:
    """Returns a change of some fields of the record at position 7."""

    def change(rows: list[StoredRecord]) -> list[StoredRecord]:
        return [row._replace(**changes) if row.position == 7 else row for row in rows]

    return change


def rehashed_at_7(**changes: Any) -> Change:
    """Returns a change that gives the record a hash that fits again."""

    def change(rows: list[StoredRecord]) -> list[StoredRecord]:
        changed = rows[6]._replace(**changes)
        return [*rows[:6], changed._replace(hash=computed_hash(changed)), *rows[7:]]

    return change


def swapped(rows: list[StoredRecord]) -> list[StoredRecord]:
    """Swaps the content of two records, positions and versions staying in order."""
    one, two = rows[6], rows[7]
    return [
        *rows[:6],
        two._replace(position=7, version=one.version),
        one._replace(position=8, version=two.version),
        *rows[8:],
    ]


CHANGES: dict[str, Change] = {
    "data": at_7(data='"other"'),
    "meta": at_7(meta="1"),
    "stream": at_7(stream="other"),
    "type": at_7(type="other"),
    "schema": at_7(schema=9),
    "register": at_7(register="other"),
    "origin": at_7(origin="other"),
    "correlation": at_7(correlation="other"),
    "causation": at_7(causation="other"),
    "id": at_7(id="other"),
    "created": at_7(created=at(-5)),
    "recorded": at_7(recorded=at(-5)),
    "nonce": at_7(nonce=bytes(32)),
    "version": at_7(version=99),
    "flags": at_7(flags=2),
    "hash": at_7(hash=bytes(32)),
    "chain": at_7(chain=bytes(32)),
    "data with a new hash": rehashed_at_7(data='"other"'),
    "stream with a new hash": rehashed_at_7(stream="s1"),
    "erased": at_7(data=None, meta=None, nonce=None),
    "half of a tombstone": at_7(data="", meta=""),
    "a missing record": lambda rows: [*rows[:6], *rows[7:]],
    "a missing first record": lambda rows: rows[1:],
    "a missing last record": lambda rows: rows[:-1],
    "a record twice": lambda rows: [*rows[:7], *rows[6:]],
    "two records swapped": swapped,
    "nothing at all": lambda rows: [],
}


class Altered:
    """A ledger whose records were changed by somebody."""

    def __init__(self, ledger: Ledger, change: Change) -> None:
        self._ledger = ledger
        self._change = change

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        page = await self._ledger.read(selection, cursor=cursor, size=size)
        return replace(page, records=self._change(list(page.records)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class OtherHead:
    """A ledger whose head was changed by somebody."""

    def __init__(self, ledger: Ledger, head: Head) -> None:
        self._ledger = ledger
        self._head = head

    async def head(self) -> Head:
        return self._head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class Verifying(Contract):
    """`store.verify`."""

    @contract_test
    async def test_an_untouched_ledger_verifies(self, scene: Scene) -> None:
        empty = await scene.store.verify()
        assert (empty.ok, empty.records) == (True, 0)
        await history(scene.store, 2_300)
        for number in range(20):
            await arrive(scene.store, "s1", Noted(number), at(-number), f"late {number}")
        seen: list[tuple[int, int]] = []
        found = await scene.store.verify(progress=lambda done, total: seen.append((done, total)))
        assert (found.ok, found.problems, found.records) == (True, (), 2_320)
        assert found.chain == (await scene.store.info()).chain
        assert seen[-1] == (2_320, 2_320)
        assert seen == sorted(seen)

    @contract_test
    async def test_the_chain_can_be_computed_by_anyone(self, scene: Scene) -> None:
        await history(scene.store, 10)
        await arrive(scene.store, "s1", Noted(0), at(-1), "late")
        chain = hashlib.sha256(b"everlog:chain:1").digest()
        for row in await scene.rows():
            chain = hashlib.sha256(
                chain + row.hash + row.version.to_bytes(8, "big") + bytes([row.flags])
            ).digest()
            assert row.chain == chain
            assert row.hash == computed_hash(row)
        assert (await scene.ledger.head()).chain == chain

    @pytest.mark.parametrize("what", CHANGES)
    @contract_test
    async def test_a_change_of_a_record_is_found(self, scene: Scene, what: str) -> None:
        await history(scene.store, 12, streams=3)
        altered = scene.over(cast(Ledger, Altered(scene.ledger, CHANGES[what])))
        found = await altered.verify()
        assert not found.ok
        if "missing" not in what and "nothing" not in what:
            assert {problem.position for problem in found.problems} & {7, 8}
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_a_head_that_does_not_fit_its_records_is_found(self, scene: Scene) -> None:
        await history(scene.store, 12)
        head = await scene.ledger.head()
        wrong: Sequence[Head] = (
            head._replace(position=11),
            head._replace(position=13),
            head._replace(chain=bytes(32)),
            head._replace(clock=at(-1)),
        )
        for other in wrong:
            altered = scene.over(cast(Ledger, OtherHead(scene.ledger, other)))
            assert not (await altered.verify()).ok

    @contract_test
    async def test_a_damaged_log_is_told_of_in_a_hundred_problems_at_most(
        self, scene: Scene
    ) -> None:
        await history(scene.store, 300)
        altered = Altered(scene.ledger, lambda rows: [row._replace(hash=b"") for row in rows])
        found = await scene.over(cast(Ledger, altered)).verify()
        assert len(found.problems) == 100
