"""Backing up: a consistent copy, or a plain no."""

from __future__ import annotations

import asyncio

import pytest

from everlog.errors import CannotOpen, NotSupported
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import Contract, Scene, contract_test, history, positions_of


class BackingUp(Contract):
    """`store.backup`; what the adapter cannot do is expected to be refused."""

    @contract_test
    async def test_a_backup_is_the_ledger_as_of_one_moment(self, scene: Scene) -> None:
        await history(scene.store, 700)
        await scene.store.relations.add("r", "s1")
        path = scene.folder / "copy"
        if not scene.capabilities.backup:
            with pytest.raises(NotSupported):
                await scene.store.backup(str(path))
            assert not path.exists()
            return
        await scene.store.backup(str(path))
        rows = await scene.rows()
        await scene.store.append("s1", Noted("after"))
        copy = await scene.elsewhere("copy")
        assert [record.stored for record in await copy.read().to_list()] == rows
        assert await copy.relations.streams_of("r") == ["s1"]
        assert (await copy.verify()).ok
        [record] = await copy.append("s1", Noted("there"))
        assert record.position == 701
        assert len(await scene.rows()) == 701

    @contract_test
    async def test_a_backup_made_while_appends_go_on_is_a_prefix(self, scene: Scene) -> None:
        if not scene.capabilities.backup:
            return
        await history(scene.store, 200)

        async def write(writer: int) -> None:
            for number in range(40):
                await scene.store.append(f"w{writer}", Noted(number), Noted(number))

        writers = [asyncio.create_task(write(writer)) for writer in range(3)]
        for number in range(3):
            await scene.store.backup(str(scene.folder / f"copy{number}"))
        await asyncio.gather(*writers)
        rows = await scene.rows()
        for number in range(3):
            copy = await scene.elsewhere(f"copy{number}")
            kept = [record.stored for record in await copy.read().to_list()]
            assert kept == rows[: len(kept)]
            assert len(kept) % 2 == 0
            assert len(kept) >= 200
            assert (await copy.verify()).ok

    @contract_test
    async def test_a_backup_replaces_nothing_and_leaves_nothing_when_it_fails(
        self, scene: Scene
    ) -> None:
        if not scene.capabilities.backup:
            return
        await history(scene.store, 5)
        taken = scene.folder / "taken"
        taken.write_text("somebody's")
        with pytest.raises(CannotOpen):
            await scene.store.backup(str(taken))
        assert taken.read_text() == "somebody's"
        with pytest.raises(CannotOpen):
            await scene.store.backup(str(scene.folder / "main"))
        with pytest.raises(CannotOpen):
            await scene.store.backup(str(scene.folder / "nowhere" / "copy"))
        assert not [path for path in scene.folder.iterdir() if "partial" in path.name]
        assert positions_of(await scene.rows()) == [1, 2, 3, 4, 5]
        await scene.store.append("a", Noted(1))
