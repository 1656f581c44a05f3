"""Of all the processes of a ledger one keeps it in step, with whatever hub is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from everlog import EventStore
from everlog.errors import LedgerBusy
from everlog.ports.checkpoints import Checkpoints
from everlog.sync import leasing
from everlog.sync.leasing import Lease
from tests.store.watched import run


def test_whoever_worked_with_one_hub_works_with_the_one_in_its_place(tmp_path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(f"sqlite:///{tmp_path}/edge.db") as store:
            one, other = (Lease(store.subscriptions.place, name) for name in ("one", "other"))
            assert await one.hold("old hub")
            assert not await other.hold("old hub")
            assert await one.hold("new hub")
            assert not await other.hold("new hub")
            assert await other.hold("old hub"), "nobody else works with that one"

    run(main)


def test_who_could_not_ask_for_the_lease_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(leasing, "RENEWALS", float("inf"))
        async with EventStore.open(f"sqlite:///{tmp_path}/edge.db") as store:
            checkpoints = await store.subscriptions.place()
            assert checkpoints is not None
            busy = Busy(checkpoints)

            async def place() -> Checkpoints:
                return cast(Checkpoints, busy)

            lease = Lease(place, "one")
            with pytest.raises(LedgerBusy):
                await lease.hold("hub")
            busy.is_busy = False
            assert await lease.hold("hub")
            workers = await checkpoints.workers(leasing.PREFIX + "hub")
            assert [each.worker for each in workers] == ["one"]

    run(main)


class Busy:
    """Checkpoints that cannot be written at first."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self.is_busy = True

    async def register(self, *args: Any, **options: Any) -> int:
        if self.is_busy:
            raise LedgerBusy("somebody else writes")
        return await self._checkpoints.register(*args, **options)

    async def claim(self, *args: Any, **options: Any) -> Any:
        return await self._checkpoints.claim(*args, **options)
