"""Expectations: what an append may ask of its stream."""

from __future__ import annotations

from typing import Any

import pytest

from everlog.core.stream import ANY, EXISTS, NEW, Expectation
from everlog.errors import InvalidExpectation, WrongVersion
from everlog.store.preparing import to
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import Contract, Scene, contract_test


class Expecting(Contract):
    """`expect=` of append and append_many."""

    @pytest.mark.parametrize("expect", [ANY, NEW, 0], ids=["ANY", "NEW", "0"])
    @contract_test
    async def test_an_expectation_that_a_new_stream_meets(
        self, scene: Scene, expect: Expectation
    ) -> None:
        [record] = await scene.store.append("a", Noted(1), expect=expect)
        assert record.version == 1

    @pytest.mark.parametrize("expect", [EXISTS, 1, 7], ids=["EXISTS", "1", "7"])
    @contract_test
    async def test_an_expectation_that_a_new_stream_does_not_meet(
        self, scene: Scene, expect: Expectation
    ) -> None:
        with pytest.raises(WrongVersion) as caught:
            await scene.store.append("a", Noted(1), expect=expect)
        facts = caught.value
        assert (facts.stream, facts.expected, facts.actual) == ("a", expect, 0)
        assert (await scene.ledger.head()).position == 0

    @pytest.mark.parametrize("expect", [ANY, EXISTS, 2], ids=["ANY", "EXISTS", "2"])
    @contract_test
    async def test_an_expectation_that_a_stream_of_two_events_meets(
        self, scene: Scene, expect: Expectation
    ) -> None:
        await scene.store.append("a", Noted(1), Noted(2))
        [record] = await scene.store.append("a", Noted(3), expect=expect)
        assert record.version == 3

    @pytest.mark.parametrize("expect", [NEW, 0, 1, 3], ids=["NEW", "0", "1", "3"])
    @contract_test
    async def test_an_expectation_that_a_stream_of_two_events_does_not_meet(
        self, scene: Scene, expect: Expectation
    ) -> None:
        await scene.store.append("a", Noted(1), Noted(2))
        with pytest.raises(WrongVersion) as caught:
            await scene.store.append("a", Noted(3), expect=expect)
        facts = caught.value
        assert (facts.stream, facts.expected, facts.actual) == ("a", expect, 2)
        assert (await scene.ledger.head()).position == 2

    @pytest.mark.parametrize(
        "expect", [-1, True, "2", 1.0, None], ids=["-1", "True", "text", "float", "None"]
    )
    @contract_test
    async def test_what_is_no_expectation_is_refused(self, scene: Scene, expect: Any) -> None:
        with pytest.raises(InvalidExpectation):
            await scene.store.append("a", Noted(1), expect=expect)
        with pytest.raises(InvalidExpectation):
            await scene.store.append_many([to("a", Noted(1), expect=expect)])
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_an_expectation_counts_the_events_before_it_in_the_same_call(
        self, scene: Scene
    ) -> None:
        await scene.store.append_many(
            [
                to("a", Noted(1), expect=NEW),
                to("b", Noted(2), expect=0),
                to("a", Noted(3), expect=1),
                to("a", Noted(4), expect=EXISTS),
                to("a", Noted(5), expect=3),
            ]
        )
        with pytest.raises(WrongVersion) as caught:
            await scene.store.append_many([to("c", Noted(1)), to("c", Noted(2), expect=NEW)])
        assert (caught.value.stream, caught.value.actual) == ("c", 1)
        assert (await scene.ledger.head()).position == 5

    @contract_test
    async def test_an_expectation_is_of_its_own_stream_only(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), Noted(2))
        [record] = await scene.store.append("b", Noted(3), expect=NEW)
        assert record.version == 1

    @contract_test
    async def test_an_expectation_counts_imported_records(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        await other.append("a", Noted(1), Noted(2))
        await scene.store.import_records(other.read())
        with pytest.raises(WrongVersion):
            await scene.store.append("a", Noted(3), expect=NEW)
        [record] = await scene.store.append("a", Noted(3), expect=2)
        assert record.version == 3
