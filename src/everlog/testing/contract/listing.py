"""Listing: which streams there are."""

from __future__ import annotations

import pytest

from everlog.core.record import StoredRecord
from everlog.errors import InvalidInput, InvalidName, NotSupported
from everlog.ports.listing import Listing
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import Contract, Scene, contract_test


class ListingStreams(Contract):
    """`store.streams`."""

    @contract_test
    async def test_each_stream_is_listed_once_in_order_of_its_name_by_its_last_record(
        self, scene: Scene
    ) -> None:
        store = scene.store
        if not isinstance(scene.ledger, Listing):
            with pytest.raises(NotSupported):
                await store.streams()
            return
        assert await store.streams() == []
        last: dict[str, StoredRecord] = {}
        # In the order of code points, which is neither that of UTF-16 nor of any dictionary.
        names = ["a", "B", "a-1", "z", "é", "\uffee", "\U0001f600"]
        for name in [*names, "a", "z", "a"]:
            [record] = await store.append(name, Noted("x"))
            last[name] = record.stored
        found = await store.streams()
        assert [tuple(each) for each in found] == [
            (name, row.version, row.position, row.type, row.recorded)
            for name, row in sorted(last.items())
        ]

    @contract_test
    async def test_streams_are_listed_by_prefix_and_page_by_page(self, scene: Scene) -> None:
        store = scene.store
        if not isinstance(scene.ledger, Listing):
            return
        names = ["a", "a%", "a%1", "a%2", "a_", "ab", "b", "é1", "é2"]
        for name in names:
            await store.append(name, Noted("x"))

        async def of(prefix: str | None = None, after: str | None = None) -> list[str]:
            return [each.stream for each in await store.streams(prefix=prefix, after=after)]

        assert await of(prefix="a%") == ["a%", "a%1", "a%2"]
        assert await of(prefix="a%", after="a%1") == ["a%2"]
        assert await of(prefix="é") == ["é1", "é2"]
        assert await of(prefix="c") == []
        assert await of(after="b") == ["é1", "é2"]
        assert await of(after="zzz") == ["é1", "é2"]
        paged: list[str] = []
        while page := await store.streams(after=paged[-1] if paged else None, limit=2):
            assert len(page) <= 2
            paged += [each.stream for each in page]
        assert paged == names

    @contract_test
    async def test_streams_that_cannot_be_asked_for_are_refused(self, scene: Scene) -> None:
        with pytest.raises(InvalidInput, match="limit"):
            await scene.store.streams(limit=0)
        for wrong in ("", "a\nb", "x" * 256):
            with pytest.raises(InvalidName):
                await scene.store.streams(prefix=wrong)
            with pytest.raises(InvalidName):
                await scene.store.streams(after=wrong)
