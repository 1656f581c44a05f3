"""History is never rewritten."""

from __future__ import annotations

import pytest

from everlog.core.record import StoredRecord
from everlog.errors import EverlogError
from everlog.store.preparing import to
from everlog.testing.contract.events import Activated, Deactivated, Noted, Renamed
from everlog.testing.contract.folding import arrive, at
from everlog.testing.contract.scene import Contract, Scene, contract_test
from everlog.testing.contract.snapshotting import Counting


class History(Contract):
    """What is stored stays as it is."""

    @contract_test
    async def test_nothing_that_a_store_can_do_changes_a_stored_record(self, scene: Scene) -> None:
        store, trace = scene.store, Counting()
        kept: list[StoredRecord] = []
        for turn in range(6):
            await store.append("a", Renamed(str(turn)), ids=[f"id {turn}"])
            await store.append_many([to("b", Activated()), to("a", Deactivated())])
            await arrive(store, "a", Renamed("late"), at(-turn), f"late {turn}")
            for wrong in (Noted(1), Renamed("other")):
                with pytest.raises(EverlogError):
                    await store.append("a", wrong, ids=["id 0"])
            await store.append("a", Renamed("0"), ids=["id 0"])
            await store.relations.add("r", "a", "b")
            await store.snapshots.create(trace.reducer, relation="r")
            await store.snapshots.delete(trace.reducer, relation="r")
            await store.relations.clear("r")
            await store.verify()
            rows = await scene.rows()
            assert rows[: len(kept)] == kept
            assert len(rows) == 4 * (turn + 1)
            kept = rows

    @contract_test
    async def test_a_record_given_out_cannot_be_used_to_change_the_log(self, scene: Scene) -> None:
        [record] = await scene.store.append("a", Noted({"list": [1]}))
        record.data.root["list"].append(2)
        [read] = await scene.store.read("a").to_list()
        assert read.json == {"list": [1]}
        with pytest.raises(AttributeError):
            read.stored.data = "2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_the_database_itself_refuses_to_rewrite_history(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), Noted(2), Noted(3))
        rows = await scene.rows()
        for name, attack in self.attacks(scene.ledger).items():
            with pytest.raises(Exception, match=r".") as caught:
                attack()
            assert caught.value is not None, name
            assert await scene.rows() == rows, name
        assert (await scene.store.verify()).ok
