"""Poison: a record that cannot be handled parks its stream in order, and holds up nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from everlog import EventStore, Projector, Record, Tx, to
from everlog.subscriptions.policies import retry
from everlog.subscriptions.worker import BATCH
from tests.scenarios.test_hand_over import Site, prepare
from tests.scenarios.test_hand_over import site as site
from tests.scenarios.working import DEADLY, Added

OTHERS = 1_000
POISON = 13


def poisoned(site: Site, calls: Counter[str]) -> tuple[Projector, list[bool]]:
    """Returns a projector that cannot handle one number, until the list holds False."""
    broken = [True]
    projector = Projector()
    mark = "%s" if site.kind == "postgres" else "?"

    @projector.all(Added)
    async def add(record: Record[Added], tx: Tx) -> None:
        calls[record.stream] += 1
        await tx.execute(
            f"INSERT INTO handled (position, stream, by) VALUES ({mark}, {mark}, 0)",
            (record.position, record.stream),
        )
        if broken[0] and record.stream == "poison" and record.data.number == POISON:
            raise ValueError("poison")

    return projector, broken


def test_a_poison_record_parks_its_stream_in_order_and_a_thousand_others_go_on(site: Site) -> None:
    async def main() -> None:
        await prepare(site)
        calls: Counter[str] = Counter()
        projector, broken = poisoned(site, calls)
        async with EventStore.open(site.url, events=[Added]) as store:
            for part in range(10):
                others = [to(f"other-{part * 100 + n}", Added(1)) for n in range(100)]
                middle = [to("poison", Added(POISON if part == 3 else part)) for _ in range(2)]
                await store.append_many([*others[:50], *middle, *others[50:]])
            policy = retry(3, first_s=0.05)
            async with store.subscription("view", projector, on_error=policy) as subscription:
                await subscription.caught_up()
                rows = site.ask("SELECT stream FROM handled")
                # At full speed: all of them are in at once, each handled once; only what shared
                # the transaction of the poison, again.
                assert sum(stream != "poison" for [stream] in rows) == OTHERS
                repeated = sum(n for stream, n in calls.items() if stream != "poison") - OTHERS
                assert 0 <= repeated <= BATCH
                assert [stream for [stream] in rows].count("poison") == 6
                while (await store.subscriptions.status())[0].retrying:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                first, *behind = await store.subscriptions.parked("view")
                assert (first.status, first.tries, len(behind)) == ("parked", 3, 13)

                broken[0] = False
                assert await store.subscriptions.retry("view") == 1
                while await store.subscriptions.parked("view"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            positions = site.ask("SELECT position FROM handled WHERE stream = 'poison' ORDER BY nr")
            assert positions == sorted(positions)
            assert len(positions) == 20

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["in a batch", "live"])
def test_a_record_that_kills_its_worker_is_parked_and_the_others_go_on(
    site: Site, live: bool
) -> None:
    async def main() -> None:
        await prepare(site)
        site.tries = 4
        deaths = 0
        async with EventStore.open(site.url, events=[Added]) as store:

            async def append() -> None:
                await store.append_many(
                    [to(f"s-{n % 7}", Added(DEADLY if n == 50 else n)) for n in range(100)]
                )

            if not live:
                await append()
            worker = await asyncio.to_thread(site.worker)
            if live:
                await append()
            try:
                async with asyncio.timeout(60):
                    while True:
                        if worker.ended:
                            deaths += 1
                            with worker:
                                pass
                            worker = await asyncio.to_thread(site.worker)
                        [status] = await store.subscriptions.status()
                        if status.parked and not status.lag:
                            break
                        await asyncio.sleep(0.02)
            finally:
                with worker:
                    pass
            [parked, *behind] = await store.subscriptions.parked("totals")
            assert parked.status == "parked"
            assert "died" in parked.error
            assert len(behind) == 7
            # Once in the batch, and then as often as any record is tried, by itself.
            assert deaths == 1 + site.tries
            assert [row[0] for row in site.ask("SELECT count(*) FROM handled")] == [92]

    asyncio.run(main())
