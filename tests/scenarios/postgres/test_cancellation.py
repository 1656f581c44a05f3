"""A caller who is called off, or a backend that is ended, at any await of an append.

Whatever runs for the append is stopped at its first await, the next time at its second, and so on
until it is done before. Then the caller is cancelled, or its time is up, or an administrator ends
every connection of the store. Each time the append is wholly there or not at all, and a retry with
the same ids makes it so, once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

import pytest

from everlog import EventStore, to
from everlog.ports.ledger import Outcome, Request
from everlog.store.committer import Committer
from everlog.subscriptions.projector import Appended
from tests.scenarios.postgres.site import EVENTS, Noted, Site, eventually, sound
from tests.scenarios.postgres.stepping import Steps
from tests.store.stopping import MODES

TERMINATED = "pg_terminate_backend"

Write: TypeAlias = "Callable[[EventStore, str], Coroutine[Any, Any, list[str]]]"


async def in_one_statement(store: EventStore, name: str) -> list[str]:
    """Appends to two streams, which takes one statement where nobody else writes."""
    return await _append(store, name, [])


async def in_a_transaction(store: EventStore, name: str) -> list[str]:
    """Appends to two streams and to a relation, which takes a transaction of several trips."""
    ids = await _append(store, name, [name])
    assert await store.relations.streams_of(name) == [f"{name}-1"]
    return ids


async def _append(store: EventStore, name: str, relations: list[str]) -> list[str]:
    items = [
        to(f"{name}-1", Noted(1), id=f"{name}-a", relations=relations),
        to(f"{name}-2", Noted(2), id=f"{name}-b"),
        to(f"{name}-1", Noted(3), id=f"{name}-c"),
    ]
    return [record.id for record in await store.append_many(items)]


def ids_of(name: str) -> list[str]:
    return [f"{name}-{letter}" for letter in "abc"]


async def at_every_await(
    site: Site, mode: str, write: Write, *, company: bool, retry: Write | None = None
) -> Counter[str]:
    """Calls an append off at each of its awaits; returns how often what was the case.

    `company`: another append is under way, and more are queued beside the one that is called off.
    """
    counted: Counter[str] = Counter()
    told: list[str] = []

    async def tell(appended: Appended) -> None:
        told.extend(record.id for record in appended.records)

    steps = Steps()
    async with EventStore.open(site.url(), events=EVENTS) as store:
        store.on_appended(tell)
        for number in range(3):
            await write(store, f"undisturbed-{number}")
        nth = missed = 0
        while missed < 3:  # sometimes a notification is sent as well
            nth += 1
            name = f"n{nth}"
            others = [f"{name}{where}" for where in ("before", "beside")] if company else []
            calls = [asyncio.create_task(write(store, other)) for other in others]
            await asyncio.sleep(0)
            task = await called_off(site, steps, nth, mode, partial(write, store, name))
            assert await asyncio.gather(*calls) == list(map(ids_of, others))
            missed = 0 if steps.acted else missed + 1
            steps.off()
            await store.drained()

            ids = [id for id in site.ids() if id.startswith(f"{name}-")]
            assert ids in ([], ids_of(name)), "it is there in part"
            if task.cancelled() or task.exception() is not None:
                assert mode != TERMINATED, "the caller heard of it"
                counted["there" if ids else "not there"] += 1
            else:
                assert task.result() == ids == ids_of(name)
                counted["answered"] += 1
            assert await (retry or write)(store, name) == ids_of(name)
            assert [id for id in site.ids() if id.startswith(name + "-")] == ids_of(name)
            await store.drained()
            assert told == site.ids(), "a hook was not told once, in order"
        await sound(store)
        await eventually(
            lambda: not any(open for _, _, open in site.backends()), "no transaction is open"
        )
    await eventually(lambda: site.backends() == [], "no connection is left")
    counted["awaits"] = nth
    return counted


async def called_off(
    site: Site, steps: Steps, nth: int, mode: str, call: Callable[[], Awaitable[list[str]]]
) -> asyncio.Task[Any]:
    """Returns a call's task at its end, after the n-th await from where it began was hit."""
    acts: list[Callable[[], object]] = []

    def begun() -> Awaitable[list[str]]:
        steps.at(nth, acts[0])
        return call()

    async def caller() -> list[str]:
        return await begun()

    if mode == TERMINATED:
        task = asyncio.create_task(caller())
        acts.append(site.terminate)
    else:
        task, call_off = MODES[mode](begun)
        acts.append(lambda: None if task.done() else call_off())
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize(
    ("write", "company"),
    [(in_one_statement, False), (in_a_transaction, False), (in_a_transaction, True)],
    ids=["in one statement", "in a transaction", "in company"],
)
@pytest.mark.parametrize("mode", ["cancelled", "timed out", TERMINATED])
def test_an_append_that_is_called_off_at_any_await_is_there_once_when_it_is_repeated(
    site: Site, mode: str, write: Write, company: bool
) -> None:
    counted = asyncio.run(at_every_await(site, mode, write, company=company))
    print(f"{mode}: {dict(counted)}")
    assert counted["awaits"] > 5
    if mode == TERMINATED:
        assert counted["answered"] == counted["awaits"]
    else:
        assert counted["there"] > 0
        assert (counted["not there"] > 0) is company  # alone, it begins at once


# --- tests of the tests --------------------------------------------------------------------------


async def committed_by_the_caller(
    self: Committer, request: Request, then: Callable[[Outcome], None] | None = None
) -> Outcome:
    """A committer that leaves the commit where cancellation reaches it."""
    [outcome] = await self._ledger.commit([request])  # pyright: ignore[reportPrivateUsage]
    if isinstance(outcome, Exception):
        raise outcome
    if then is not None:
        then(outcome)
    return outcome


@pytest.mark.parametrize("mode", ["cancelled", "timed out"])
def test_a_commit_that_runs_in_its_callers_task_is_seen(
    site: Site, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Committer, "commit", committed_by_the_caller)
    with pytest.raises(AssertionError, match=r"not told once|in part"):
        asyncio.run(at_every_await(site, mode, in_one_statement, company=False))


@pytest.mark.parametrize("mode", ["cancelled", TERMINATED])
def test_a_retry_with_ids_made_anew_is_seen(site: Site, mode: str) -> None:
    async def with_new_ids(store: EventStore, name: str) -> list[str]:
        await in_one_statement(store, f"{name}-anew")
        return ids_of(name)

    with pytest.raises(AssertionError):
        asyncio.run(at_every_await(site, mode, in_one_statement, company=False, retry=with_new_ids))
