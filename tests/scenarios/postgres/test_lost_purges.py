"""A purge, or content that comes again, whose commit was lost takes effect once, and says so."""

from __future__ import annotations

import asyncio

import pytest

from everlog.core.sequencer import Import
from everlog.core.taking import Note, Purge, Take
from everlog.testing.contract.committing import append, new
from everlog.testing.contract.synchronising import HUB, History
from tests.scenarios.postgres.site import Site
from tests.scenarios.postgres.test_lost_pieces import DISTURBANCES, commit, opened

ANY = "^(?!SELECT pg_notify)"


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_purge_that_is_disturbed_at_any_statement_takes_effect_once(
    site: Site, disturbance: str
) -> None:
    async def main() -> None:
        ledger = await opened(site)
        try:
            hub = History()
            hit = 0
            while True:
                await commit(ledger, append(new(f"own-{hit}", f"s{hit}")))
                [row] = await ledger.find([f"own-{hit}"])
                assert row is not None
                hub.add(Import((row,)))
                end = hub.end
                piece = hub.piece(end - 1, scope="b")
                await commit(ledger, piece._replace(records=()))
                assert await commit(ledger, Note(HUB, hub.at(end), ((row.id, end),))) == 1
                fault = site.relay.plan(DISTURBANCES[disturbance](ANY, hit + 1))
                assert await commit(ledger, Purge(HUB, hub.at(end), end, (row.id,))) == 1
                site.relay.forget()
                assert await ledger.upstreams.first_tombstone(row.stream) == row.position
                assert not await ledger.upstreams.outside(HUB, after=0, until=end, size=9)
                if not fault.happened:
                    break
                hit += 1
                assert hit < 100
            assert hit >= 4  # the lock, the look, what goes, the commit
            # All of it comes again.
            found = 0
            while True:
                await commit(ledger, hub.back(hub.end, 0))
                fault = site.relay.plan(DISTURBANCES[disturbance](ANY, found + 1))
                taken = await commit(ledger, hub.piece())
                site.relay.forget()
                assert taken == ["duplicate"] * hub.end
                assert await ledger.upstreams.first_tombstone() is None
                rows = await ledger.find([record.id for record in hub.records])
                assert [row is not None and row.data for row in rows] == ["1"] * hub.end
                if not fault.happened:
                    break
                found += 1
                await commit(ledger, hub.back(hub.end, 0))
                nothing = Take((), link=hub.piece(scope="b").link)
                await commit(ledger, nothing)
                places = tuple((record.id, record.position) for record in hub.records)
                await commit(ledger, Note(HUB, hub.at(hub.end), places))
                ids = tuple(record.id for record in hub.records)
                assert await commit(ledger, Purge(HUB, hub.at(hub.end), hub.end, ids)) == hub.end
            assert found >= 4
            assert await ledger.check() == []
        finally:
            await ledger.close()

    asyncio.run(main())
