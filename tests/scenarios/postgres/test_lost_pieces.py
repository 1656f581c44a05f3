"""What is lost on the way of a request about upstreams, its caller never hears of either.

A piece of history whose commit was lost is looked up, and not tried again: it would find that the
cursor has moved, which its own first try did. The same holds for what stores no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from everlog import OutcomeUnknown
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.core.taking import Hold, Keeping, Release, Restamp, Take, Taken
from everlog.errors import CursorMoved
from everlog.ports.ledger import Outcome, Request
from everlog.ports.seams import Seams
from everlog.testing.contract.committing import append, new
from everlog.testing.contract.scene import NOON_MS
from everlog.testing.contract.synchronising import History, held
from tests.proxies.faults import COMMIT, AnswerLost, AtStatement, Fails, NeverArrives
from tests.scenarios.postgres.site import Site, eventually

DISTURBANCES: dict[str, Callable[[str, int], AtStatement]] = {
    "40001": lambda statement, nth: Fails("40001", statement, nth=nth),
    "40P01": lambda statement, nth: Fails("40P01", statement, nth=nth),
    "it never arrives": lambda statement, nth: NeverArrives(statement, nth=nth),
    "its answer is lost": lambda statement, nth: AnswerLost(statement, nth=nth),
}


@dataclass
class Asked:
    """A request about an upstream of its own, for each name."""

    request: Take | Keeping | Restamp
    hub: History
    outcome: object
    """What it gives, of a `Taken` the verdicts."""
    cursor: int
    """Where the ledger stands then."""


async def a_piece(ledger: PostgresLedger, name: str) -> Asked:
    hub = History(name)
    hub.append(f"{name}-1", f"{name}-2", stream=name)
    return Asked(hub.piece(receipts=[b"1", None]), hub, ["accepted", "accepted"], 2)


async def a_piece_of_what_is_known(ledger: PostgresLedger, name: str) -> Asked:
    hub = (await a_piece(ledger, name)).hub
    await ledger.commit([Take(tuple(hub.records))])
    return Asked(hub.piece(), hub, ["duplicate", "duplicate"], 2)


async def a_rewind(ledger: PostgresLedger, name: str) -> Asked:
    hub = (await a_piece(ledger, name)).hub
    await ledger.commit([hub.piece()])
    return Asked(hub.back(2, 1), hub, 1, 1)


async def a_hold(ledger: PostgresLedger, name: str) -> Asked:
    hub = (await a_piece(ledger, name)).hub
    await ledger.commit([hub.piece()])
    return Asked(Hold(name, (held("x"), held("y"))), hub, 2, 2)


async def a_release(ledger: PostgresLedger, name: str) -> Asked:
    asked = await a_hold(ledger, name)
    await ledger.commit([asked.request])
    return Asked(Release(name), asked.hub, 2, 2)


async def a_restamp(ledger: PostgresLedger, name: str) -> Asked:
    hub = (await a_piece(ledger, name)).hub
    await ledger.commit([hub.piece(), append(new(f"{name}-old", name))])
    return Asked(Restamp((f"{name}-old",), NOON_MS), hub, 1, 2)


REQUESTS: dict[str, Callable[[PostgresLedger, str], Awaitable[Asked]]] = {
    each.__name__.replace("_", " "): each
    for each in (a_piece, a_piece_of_what_is_known, a_rewind, a_hold, a_release, a_restamp)
}


def plain(outcome: Outcome) -> object:
    if isinstance(outcome, Taken):
        return [each.verdict for each in outcome.judged]
    return outcome


async def opened(site: Site, *, timeout_s: float = 30) -> PostgresLedger:
    url = site.url(timeout_s=timeout_s)
    address, _, options = url.partition("?")
    named = dict(each.split("=") for each in options.split("&"))
    return await PostgresLedger.open(
        address, schema=named["schema"], timeout_s=timeout_s, seams=Seams(now_ms=lambda: NOON_MS)
    )


async def commit(ledger: PostgresLedger, request: Request) -> object:
    [outcome] = await ledger.commit([request])
    return plain(outcome)


async def cursor_of(ledger: PostgresLedger, name: str) -> int:
    state = await ledger.upstreams.state(name)
    return 0 if state is None else state.cursor.position


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_that_is_disturbed_at_any_statement_takes_effect_once(
    site: Site, kind: str, disturbance: str
) -> None:
    async def main() -> None:
        ledger = await opened(site)
        try:
            hit = 0
            while True:
                name = f"n{hit}"
                asked = await REQUESTS[kind](ledger, name)
                fault = site.relay.plan(DISTURBANCES[disturbance]("^(?!SELECT pg_notify)", hit + 1))
                assert await commit(ledger, asked.request) == asked.outcome
                site.relay.forget()
                assert await cursor_of(ledger, name) == asked.cursor
                ids = site.ids()
                assert len(ids) == len(set(ids))
                if kind == "a restamp":
                    assert any(id.startswith(f"{name}-old@") for id in ids)
                if not fault.happened:
                    break
                hit += 1
                assert hit < 100
            assert hit >= 4  # the lock, the look, what is kept, the commit
            assert await ledger.check() == []
        finally:
            await ledger.close()

    asyncio.run(main())


@pytest.mark.parametrize("committed", [True, False], ids=["it was committed", "it was not"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_where_the_server_stays_away_the_outcome_of_a_request_is_unknown(
    site: Site, kind: str, committed: bool
) -> None:
    async def main() -> None:
        ledger = await opened(site, timeout_s=0.3)
        try:
            asked = await REQUESTS[kind](ledger, "far")
            site.relay.refuse()
            site.relay.plan(AnswerLost(COMMIT) if committed else NeverArrives(COMMIT))
            with pytest.raises(OutcomeUnknown) as unknown:
                await ledger.commit([asked.request])
            if isinstance(asked.request, Take):
                assert list(unknown.value.ids) == ["far-1", "far-2"]
            site.relay.accept()
            await eventually(lambda: len(site.backends()) <= 1, "the writer's connection is gone")
            again, *_ = await ledger.commit([asked.request])
            if not committed:
                assert plain(again) == asked.outcome
            elif isinstance(asked.request, Take) or kind == "a rewind":
                assert isinstance(again, CursorMoved)  # by the first try
            assert await cursor_of(ledger, "far") == asked.cursor
            assert len(site.ids()) == len(set(site.ids()))
        finally:
            await ledger.close()

    asyncio.run(main())
