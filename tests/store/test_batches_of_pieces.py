"""Group commit of what another ledger gave: pieces of history fill batches as appends do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from everlog import OutcomeUnknown
from everlog.core.taking import Hold, Release
from everlog.ports.ledger import Ledger, Request
from everlog.store.committer import Committer
from everlog.testing.contract.synchronising import History, held
from tests.store.watched import run


def test_what_another_ledger_gave_counts_by_its_records_and_is_named_where_it_is_lost() -> None:
    hub = History()
    hub.append(*(f"{number}" for number in range(600)))
    pieces = [hub.piece(at, at + 200) for at in (0, 200, 400)]
    aside = Hold(hub.upstream, tuple(held(f"h{number}") for number in range(400)))
    batches: list[int] = []

    class Counting:
        async def commit(self, requests: Sequence[Request]) -> list[int]:
            batches.append(len(requests))
            if batches[0] == 0:
                raise OutcomeUnknown(())
            return [0] * len(requests)

    async def main() -> None:
        committer = Committer(cast(Ledger, Counting()))
        first = committer.commit(Release(hub.upstream))
        requests: list[Request] = [*pieces, aside, Release(hub.upstream)]
        queued = [committer.commit(each) for each in requests]
        await first
        await asyncio.gather(*queued)
        assert batches == [1, 2, 1, 2]

    async def lost() -> None:
        batches[:] = [0, 0, 0]
        committer = Committer(cast(Ledger, Counting()))
        with pytest.raises(OutcomeUnknown) as unknown:
            await committer.commit(hub.piece(0, 2))
        assert list(unknown.value.ids) == ["0", "1"]

    run(main)
    run(lost)
