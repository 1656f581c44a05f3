"""Relations: keys that name sets of streams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog.errors import InvalidInput, InvalidName
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import Contract, Scene, contract_test


class Relating(Contract):
    """`store.relations`."""

    @contract_test
    async def test_adding_tells_how_many_are_new(self, scene: Scene) -> None:
        relations = scene.store.relations
        assert await relations.add("r", "a", "b") == 2
        assert await relations.add("r", "b", "c", "c") == 1
        assert await relations.add_many([("r", "a"), ("q", "a"), ("q", "d")]) == 2
        assert await relations.streams_of("r") == ["a", "b", "c"]
        assert await relations.streams_of("q") == ["a", "d"]

    @contract_test
    async def test_removing_tells_how_many_there_were(self, scene: Scene) -> None:
        relations = scene.store.relations
        await relations.add("r", "a", "b", "c")
        await relations.add("q", "a", "b")
        assert await relations.remove("r", "a", "x", "a") == 1
        assert await relations.remove("nobody", "a") == 0
        assert await relations.remove_many([("r", "b"), ("q", "b"), ("q", "x")]) == 2
        assert await relations.streams_of("r") == ["c"]
        assert await relations.streams_of("q") == ["a"]

    @contract_test
    async def test_clearing_takes_all_streams_out_and_leaves_other_relations(
        self, scene: Scene
    ) -> None:
        relations = scene.store.relations
        await relations.add_many((r, s) for r in ("p", "q", "r") for s in ("a", "b"))
        assert await relations.clear("p", "q", "nobody") == 4
        assert await relations.relations_of("a") == ["r"]
        assert await relations.clear() == 0

    @contract_test
    async def test_clearing_streams_takes_them_out_of_all_relations(self, scene: Scene) -> None:
        relations = scene.store.relations
        await relations.add_many((r, s) for r in ("p", "q", "r") for s in ("a", "b"))
        assert await relations.clear_streams("a", "nobody") == 3
        assert await relations.streams_of("p", "q", "r") == ["b"]
        assert await relations.relations_of("a") == []

    @contract_test
    async def test_streams_of_many_relations_come_once_and_sorted_by_code_point(
        self, scene: Scene
    ) -> None:
        names = ["b", "B", "a", "\u00e9", "z", "\uffee", "\U0001f600", "10", "9", "_", "~"]
        await scene.store.relations.add("r", *names)
        await scene.store.relations.add("q", *names[3:], "only q")
        streams = await scene.store.relations.streams_of("q", "r", "q", "nobody")
        assert streams == sorted({*names, "only q"})
        assert await scene.store.relations.streams_of() == []

    @contract_test
    async def test_relations_of_many_streams_come_once_and_sorted(self, scene: Scene) -> None:
        for name in ("z", "\u00e9", "a", "\U0001f600", "\uffee"):
            await scene.store.relations.add(name, "s", "t")
        found = await scene.store.relations.relations_of("t", "s", "nobody")
        assert found == sorted(["z", "\u00e9", "a", "\U0001f600", "\uffee"])

    @contract_test
    async def test_a_relation_may_name_streams_that_have_no_events_yet(self, scene: Scene) -> None:
        await scene.store.relations.add("r", "later")
        assert await scene.store.read(relation="r").to_list() == []
        await scene.store.append("later", Noted(1))
        assert len(await scene.store.read(relation="r").to_list()) == 1

    @pytest.mark.parametrize(
        "name",
        ["", "x" * 256, "\u00e9" * 128, "a\x00b", "a\nb", "\x7f", "\x9f", "\ud800", 3, None],
        ids=["empty", "256", "e acute", "NUL", "LF", "DEL", "C1", "surrogate", "int", "None"],
    )
    @contract_test
    async def test_what_cannot_be_a_name_is_refused_and_changes_nothing(
        self, scene: Scene, name: Any
    ) -> None:
        relations = scene.store.relations
        with pytest.raises(InvalidName):
            await relations.add(name, "a")
        with pytest.raises(InvalidName):
            await relations.add_many([("r", "a"), ("r", name)])
        with pytest.raises(InvalidName):
            await relations.remove("r", name)
        with pytest.raises(InvalidName):
            await relations.clear(name)
        with pytest.raises(InvalidName):
            await relations.clear_streams(name)
        with pytest.raises(InvalidName):
            await relations.streams_of(name)
        with pytest.raises(InvalidName):
            await scene.store.append("a", Noted(1), relations=[name])
        assert await relations.streams_of("r") == []
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_pairs_are_pairs_and_relations_a_list(self, scene: Scene) -> None:
        pairs: Any = ["ab"]
        with pytest.raises(InvalidInput):
            await scene.store.relations.add_many(pairs)
        with pytest.raises(InvalidInput):
            await scene.store.append("a", Noted(1), relations="r")

    @contract_test
    async def test_changes_from_many_tasks_are_all_made(self, scene: Scene) -> None:
        added = await asyncio.gather(
            *(scene.store.relations.add("r", f"s{n % 30}") for n in range(90))
        )
        assert sum(added) == 30
        assert len(await scene.store.relations.streams_of("r")) == 30

    @contract_test
    async def test_relations_stay_where_the_ledger_is_durable(self, scene: Scene) -> None:
        await scene.store.relations.add("r", "a", "b")
        await scene.store.relations.remove("r", "a")
        store = await scene.reopen()
        wanted = ["b"] if scene.capabilities.durable else []
        assert await store.relations.streams_of("r") == wanted
