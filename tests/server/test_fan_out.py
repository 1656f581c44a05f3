"""Hundreds who follow cost the ledger what one does."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from everlog.server import Application, Limits
from everlog.server.live import News
from tests.server.calling import append, call, event, offered, until

EDGES = 200
ACCEPT = {"accept": "text/event-stream"}


def counted(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what a ledger is asked."""
    counts: Counter[str] = Counter()
    for name in ("read", "wait", "head", "find", "streams_of", "relations_of"):
        inner = getattr(ledger, name)

        def asked(*args: Any, _name: str = name, _inner: Any = inner, **more: Any) -> Any:
            counts[_name] += 1
            return _inner(*args, **more)

        monkeypatch.setattr(ledger, name, asked)
    return counts


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_two_hundred_who_follow_are_one_look_and_one_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/hub.db"
    limits = Limits(comment_s=0.1, streams_per_token=EDGES)
    async with offered(url, limits=limits) as (store, hub):
        await append(hub, event("a-1"))
        ledger = store.as_hub().ledger
        counts = counted(ledger, monkeypatch)
        edges = [
            asyncio.create_task(call(hub, "GET", "/v1/pull", query=scope, headers=ACCEPT))
            for _ in range(EDGES // 2)
            for scope in ("", "prefix=a-")
        ]
        await until_all_have(hub, 1)
        assert counts["read"] <= 4  # one for each scope, and perhaps once more
        before = counts.copy()
        await asyncio.sleep(1.0)  # ten comments each
        assert counts["wait"] - before["wait"] <= 1
        assert counts["read"] == before["read"]
        appended = 10
        for _ in range(appended):
            await append(hub, event("a-1"))
        await until_all_have(hub, (await store.info()).position)
        assert counts["read"] - before["read"] <= 2 * (appended + 1)
        hub.stop()
        for reply in await asyncio.gather(*edges):
            body = reply.body.decode()
            assert body.count('data: {"record"') == 1 + appended
            assert ": still here" in body


async def until_all_have(hub: Application, position: int) -> None:
    """Returns when each of those who follow waits for what comes behind a position."""
    await until(
        lambda: sum(after >= position for after in hub.answering.news.waited_for) >= EDGES,
        what="all have it",
    )


async def test_who_waits_is_told_of_what_the_ledger_fails_with() -> None:
    async with offered() as (store, _):
        news = News(store.as_hub().ledger)
        waiting = asyncio.create_task(news.past(0, timeout_s=60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(Exception, match="closed"):
            await waiting
        await news.close()


async def test_who_goes_does_not_take_the_piece_from_the_others() -> None:
    async with offered() as (_, hub):
        await append(hub, event("a-1"))
        calls = [asyncio.create_task(call(hub, "GET", "/v1/pull")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in calls[:10]:
            task.cancel()
        replies = await asyncio.gather(*calls[10:])
        assert {reply.status for reply in replies} == {200}
        assert hub.answering.edges.pieces.reads <= 20


async def test_streams_have_a_limit_each_and_all_together() -> None:
    limits = Limits(streams=2)
    async with offered(limits=limits) as (_, hub):
        edges = [
            asyncio.create_task(call(hub, "GET", "/v1/pull", headers=ACCEPT)) for _ in range(2)
        ]
        await until(lambda: hub.answering.live == 2, what="both follow")
        third = await call(hub, "GET", "/v1/pull", headers=ACCEPT)
        assert (third.status, third.code) == (503, "too_busy")
        assert "retry-after" in third.headers
        hub.stop()
        await asyncio.gather(*edges)
        assert hub.answering.live == 0
