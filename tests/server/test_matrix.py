"""Who may ask what: every role at every route of the table, and every way to say who one is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.server import Application, Limits, Pattern, TokenFile, app
from everlog.server.routes import ROUTES, Needs
from everlog.wire.messages import Offer
from tests.server.calling import (
    ALL,
    LEDGER,
    SECRET,
    Reply,
    append,
    call,
    event,
    hello,
    offered,
    push,
    records_of,
    until,
)

PREFIXED = Pattern(prefix="a-")
ROLES: dict[str, dict[str, Any]] = {
    "reader": {"pull": [ALL]},
    "writer": {"push": [ALL]},
    "both": {"pull": [ALL], "push": [ALL]},
    "reader of a-": {"pull": [PREFIXED]},
    "writer of a-": {"push": [PREFIXED]},
}
STRANGERS = ("nobody", "stranger", "expired", "revoked")

REQUESTS: dict[str, dict[str, Any]] = {
    "POST /v1/hello": {"json": hello()},
    "GET /v1/pull": {},
    "POST /v1/push": {
        "headers": {
            "content-type": "application/x-ndjson",
            "everlog-ledger": LEDGER,
            "everlog-cursor": "0",
        }
    },
    "POST /v1/append": {"json": {"events": [event("b-1")]}},
    "GET /v1/wait": {"query": "position=0&timeout_s=0"},
    "GET /v1/read": {},
    "POST /v1/read": {"json": {"selection": {}}},
    "POST /v1/find": {"json": {"ids": ["m1"]}},
    "GET /v1/streams/{stream}": {"path": "/v1/streams/b-1"},
    "POST /v1/streams": {"json": {"relations": ["all"]}},
    "POST /v1/relations": {"json": {"streams": ["b-1"]}},
    "GET /v1/status": {},
    "GET /healthz": {},
    "GET /openapi.json": {},
}
"""A request of each route that who may do everything may make; what it touches is `b-1`."""

# fmt: off
#                               reader  writer  both  reader of a-  writer of a-
ALLOWED: dict[str, tuple[int, ...]] = {
    "POST /v1/hello":           (200,    200,   200,  200,          200),
    "GET /v1/pull":             (200,    403,   200,  403,          403),
    "POST /v1/push":            (200,    200,   200,  200,          200),
    "POST /v1/append":          (403,    200,   200,  403,          403),
    "GET /v1/wait":             (200,    200,   200,  200,          200),
    "GET /v1/read":             (200,    403,   200,  403,          403),
    "POST /v1/read":            (200,    403,   200,  403,          403),
    "POST /v1/find":            (200,    403,   200,  200,          403),
    "GET /v1/streams/{stream}": (200,    403,   200,  403,          403),
    "POST /v1/streams":         (200,    403,   200,  200,          403),
    "POST /v1/relations":       (200,    403,   200,  200,          403),
    "GET /v1/status":           (200,    200,   200,  200,          200),
    "GET /healthz":             (200,    200,   200,  200,          200),
    "GET /openapi.json":        (200,    200,   200,  200,          200),
}
# fmt: on


@asynccontextmanager
async def guarded(
    folder: Path, limits: Limits | None = None
) -> AsyncGenerator[tuple[Application, dict[str, str | None]]]:
    """A hub with tokens of every role, with one event in a stream `b-1`."""
    tokens = TokenFile(folder / "tokens.json")
    plain: dict[str, str | None] = {
        role: tokens.create(role, **patterns) for role, patterns in ROLES.items()
    }
    plain["nobody"] = None
    plain["stranger"] = TokenFile(folder / "others.json").create("both", pull=[ALL], push=[ALL])
    then = TokenFile(folder / "tokens.json", now_s=lambda: time.time() - 3_600)
    soon = int((time.time() - 1_800) * 1_000)
    plain["expired"] = then.create("expired", pull=[ALL], push=[ALL], expires_ms=soon)
    plain["revoked"] = tokens.create("revoked", pull=[ALL], push=[ALL])
    tokens.revoke("revoked")
    async with offered(tokens=TokenFile(folder / "tokens.json"), limits=limits) as (store, hub):
        await append(hub, event("b-1", id="m1"), token=plain["both"])
        await store.relations.add("all", "b-1")
        yield hub, plain


def test_the_matrix_has_a_row_for_each_route_and_a_column_for_each_role() -> None:
    assert {str(route) for route in ROUTES} == {*REQUESTS} == {*ALLOWED}
    assert {len(row) for row in ALLOWED.values()} == {len(ROLES)}
    open_to_all = {str(route) for route in ROUTES if route.needs is Needs.NOTHING}
    assert open_to_all == {"GET /healthz", "GET /openapi.json"}


@pytest.mark.parametrize("role", [*ROLES, *STRANGERS])
async def test_each_role_is_answered_by_each_route_as_the_matrix_says(
    role: str, tmp_path: Path
) -> None:
    async with guarded(tmp_path) as (hub, plain):
        for route in ROUTES:
            request: dict[str, Any] = {"path": route.path, **REQUESTS[str(route)]}
            reply = await call(hub, route.method, token=plain[role], **request)
            if role in ROLES:
                expected = ALLOWED[str(route)][[*ROLES].index(role)]
            else:
                expected = 200 if route.needs is Needs.NOTHING else 401
            assert reply.status == expected, (str(route), role, reply)
            if expected != 200:
                assert reply.code == {401: "not_authenticated", 403: "not_allowed"}[expected]
            if expected == 401:
                assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_taken_as_it_is_and_in_no_other_form(tmp_path: Path) -> None:
    async with guarded(tmp_path, Limits(address_requests_per_s=100_000)) as (hub, plain):
        token = plain["both"]
        assert token is not None
        name, key, secret = token.split("_", 2)
        wrong = [
            "",
            "Bearer",
            "Bearer ",
            f"Basic {token}",
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            f"Bearer {token.upper()}",
            f"Bearer {name}_{key}_",
            f"Bearer {name}_{key}",
            f"Bearer {key}_{name}_{secret}",
            f"Bearer {name}_{key}_{'A' * len(secret)}",
            f"Bearer {name}_{'0' * 16}_{secret}",
            f"Bearer {token} {token}",
            f"Bearer \xff\xfe{token}",
            token,
        ]
        for authorization in wrong:
            headers = {"authorization": authorization}
            reply = await call(hub, "GET", "/v1/status", headers=headers)
            assert (reply.status, reply.code) == (401, "not_authenticated"), authorization
            assert secret not in reply.body.decode()
        for authorization in (f"Bearer {token}", f"bearer {token}", f"Bearer  {token} "):
            headers = {"authorization": authorization}
            assert (await call(hub, "GET", "/v1/status", headers=headers)).status == 200
        reply = await call(hub, "GET", "/v1/status", query=f"token={token}")
        assert reply.status == 401


async def test_who_guesses_tokens_is_slowed_down(tmp_path: Path) -> None:
    async with guarded(tmp_path, Limits(address_requests_per_s=10)) as (hub, plain):
        statuses = [(await call(hub, "GET", "/v1/status", token="guess")).status for _ in range(5)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        other = await call(hub, "GET", "/v1/status", token=plain["both"], client="192.0.2.7")
        assert other.status == 200


async def test_behind_a_proxy_who_guesses_does_not_lock_out_who_comes_by_it_too(
    tmp_path: Path,
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[ALL])
    limits = Limits(address_requests_per_s=10)
    async with EventStore.open("memory:") as store:
        hub = app(store, tokens=tokens, secret=SECRET, limits=limits, behind_proxy=True)

        async def status(token: str, by: str) -> int:
            headers = {"x-forwarded-for": by}
            return (await call(hub, "GET", "/v1/status", token=token, headers=headers)).status

        # What stands before the last comma is what the client says, and may be anything.
        assert [await status("guess", f"192.0.2.{i}, 203.0.113.9") for i in range(5)][-1] == 429
        assert await status(plain, "203.0.113.9, 192.0.2.7") == 200
        await hub.close()
        hub = app(store, tokens=tokens, secret=SECRET, limits=limits)
        assert [await status("guess", f"192.0.2.{i}") for i in range(5)][-1] == 429
        await hub.close()


async def test_a_token_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    async with guarded(tmp_path, Limits(requests_per_s=0.5)) as (hub, plain):
        replies = [await call(hub, "GET", "/v1/status", token=plain["reader"]) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert int(replies[-1].headers["retry-after"]) >= 1
        assert replies[-1].json["facts"]["retry_after_s"] > 0
        assert (await call(hub, "GET", "/v1/status", token=plain["writer of a-"])).status == 200


async def test_a_token_that_is_revoked_holds_no_more_and_ends_what_follows(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[ALL])
    hub_sees = TokenFile(tmp_path / "tokens.json")
    async with offered(tokens=hub_sees, limits=Limits(comment_s=0.1)) as (_, hub):
        following = asyncio.create_task(
            call(hub, "GET", "/v1/pull", token=plain, headers={"accept": "text/event-stream"})
        )
        await until(lambda: hub.answering.live, what="it follows")
        tokens.revoke("shop")
        body = (await asyncio.wait_for(following, 100)).body
        assert b"event: problem\n" in body
        assert b"not_authenticated" in body.splitlines()[-2]
        assert (await call(hub, "GET", "/v1/status", token=plain)).status == 401


async def test_a_token_belongs_to_the_ledger_that_comes_first(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[ALL], push=[ALL])
    other = "ef" * 16
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (_, hub):
        assert (await call(hub, "POST", "/v1/hello", json=hello(), token=plain)).status == 200
        assert [token.ledger for token in tokens.tokens()] == [LEDGER]
        assert (await call(hub, "POST", "/v1/hello", json=hello(), token=plain)).status == 200
        reply = await call(hub, "POST", "/v1/hello", json=hello(other), token=plain)
        assert (reply.status, reply.code) == (403, "not_allowed")
        assert (await push(hub, [], ledger=other, token=plain)).status == 403
        headers = {"everlog-ledger": other}
        assert (await call(hub, "GET", "/v1/pull", token=plain, headers=headers)).status == 403
        assert [token.ledger for token in tokens.tokens()] == [LEDGER]


async def test_no_token_takes_the_name_of_a_ledger_that_is_another_s_or_the_hub_s(
    tmp_path: Path,
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    one, two, gone = (tokens.create(name, push=[ALL]) for name in ("one", "two", "gone"))
    async with offered() as (store, there):
        await append(there, event("a-1"))
        foreign = [Offer(record) for record in await records_of(store)]
    victim, theirs = foreign[0].record.origin, "ef" * 16
    async with offered(tokens=tokens) as (store, hub):
        own = (await store.info()).ledger
        for token, ledger in ((one, victim), (gone, theirs)):
            assert (
                await call(hub, "POST", "/v1/hello", json=hello(ledger), token=token)
            ).status == 200
        tokens.revoke("gone")
        for ledger in (victim, theirs, own):
            reply = await call(hub, "POST", "/v1/hello", json=hello(ledger), token=two)
            assert (reply.status, reply.code) == (403, "not_allowed"), ledger
            assert (await push(hub, foreign, ledger=ledger, token=two)).status == 403
        assert await records_of(store) == []
        assert [token.ledger for token in tokens.tokens()] == [victim, None, theirs]
        # Whoever keeps the tokens may say so: such as of the next token of the same ledger.
        for name, ledger in (("next", victim), ("itself", own)):
            token = tokens.create(name, push=[ALL], ledger=ledger)
            assert (
                await call(hub, "POST", "/v1/hello", json=hello(ledger), token=token)
            ).status == 200
        # And the one that was refused is good for a ledger of its own.
        assert (await call(hub, "POST", "/v1/hello", json=hello(), token=two)).status == 200


async def test_a_token_that_waits_too_often_leaves_room_for_others(tmp_path: Path) -> None:
    async with guarded(tmp_path, Limits(streams_per_token=2)) as (hub, plain):

        def wait(role: str) -> asyncio.Task[Reply]:
            query = "position=9&timeout_s=30"
            return asyncio.create_task(call(hub, "GET", "/v1/wait", query=query, token=plain[role]))

        waits = [wait("reader") for _ in range(2)]
        await until(lambda: len(hub.answering.news.waited_for) == 2, what="two wait")
        reply = await asyncio.wait_for(wait("reader"), 100)
        assert (reply.status, reply.code) == (429, "too_busy")
        other = wait("both")
        await until(lambda: len(hub.answering.news.waited_for) == 3, what="another waits")
        hub.stop()
        assert [reply.status for reply in await asyncio.gather(*waits, other)] == [200] * 3


@pytest.mark.parametrize("how", ["no tokens", "a folder"])
async def test_a_file_of_tokens_that_cannot_be_read_lets_nobody_in_until_it_can(
    how: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret-place.json"
    plain = TokenFile(path).create("shop", pull=[ALL])
    good = path.read_bytes()
    async with offered(tokens=TokenFile(path), limits=Limits(comment_s=0.1)) as (_, hub):
        following = asyncio.create_task(
            call(hub, "GET", "/v1/pull", token=plain, headers={"accept": "text/event-stream"})
        )
        await until(lambda: hub.answering.live, what="it follows")
        path.unlink()
        if how == "a folder":
            path.mkdir()
        else:
            path.write_text("{broken")
        ended = (await asyncio.wait_for(following, 100)).body
        assert b"event: problem\n" in ended
        for token in (plain, None):
            reply = await call(hub, "GET", "/v1/status", token=token)
            assert reply.status == (401 if token is None else 503)
            assert "secret-place" not in reply.body.decode() + ended.decode()
        assert int((await call(hub, "GET", "/v1/pull", token=plain)).headers["retry-after"]) >= 1
        if how == "a folder":
            path.rmdir()
        path.write_bytes(good)
        await until_status(hub, plain, 200)


async def until_status(hub: Application, token: str, status: int) -> None:
    async with asyncio.timeout(100):
        while (await call(hub, "GET", "/v1/status", token=token)).status != status:  # noqa: ASYNC110  # what is waited for has no signal
            await asyncio.sleep(0.05)


async def test_nobody_pushes_in_the_name_of_another(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", push=[ALL])
    async with offered() as (store, there):
        await append(there, event("a-1"))
        foreign = [Offer(record, 1) for record in await records_of(store)]
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        reply = await push(hub, foreign, token=plain)
        assert [each["status"] for each in reply.json["results"]] == ["rejected"]
        assert await records_of(store) == []


async def test_a_push_outside_of_the_patterns_is_rejected_event_by_event(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    patterns = [Pattern(prefix="a-", types=("ok",)), Pattern(relation="mine")]
    plain = tokens.create("shop", push=patterns)
    async with offered() as (store, there):
        await append(
            there,
            event("a-1", "ok"),
            event("b-1", "ok"),
            event("a-2", "bad"),
            event("a-2", "ok"),
            event("m-1", "bad"),
            event("a-3", "ok"),
        )
        records = await records_of(store)
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        await store.relations.add("mine", "m-1")
        offers = [Offer(record) for record in records]
        reply = await push(hub, offers, ledger=records[0].origin, token=plain)
        said = [each["status"] for each in reply.json["results"]]
        assert said == ["accepted", "rejected", "rejected", "waiting", "accepted", "accepted"]
        assert "prefix=a-,type=ok" in reply.json["results"][1]["reason"]
        assert [record.stream for record in await records_of(store)] == ["a-1", "m-1", "a-3"]


async def test_who_is_in_a_relation_is_not_changed_by_who_may_write_a_stream(
    tmp_path: Path,
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    a = tokens.create("a", push=[PREFIXED])
    mine = tokens.create("mine", push=[Pattern(prefix="a-", relation="mine")])
    named = tokens.create("named", push=[Pattern(relation="mine")])
    all_ = tokens.create("all", push=[ALL])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):

        async def put(relation: str, stream: str, token: str) -> int:
            body = {"events": [event(stream)], "relations": [[relation, stream]]}
            return (await call(hub, "POST", "/v1/append", json=body, token=token)).status

        assert await put("mine", "a-1", a) == 403
        assert await put("others", "a-1", mine) == 403
        assert await put("mine", "b-1", mine) == 403
        assert (await append(hub, event("a-1"), token=mine)).status == 403  # not in it
        assert await put("mine", "a-1", mine) == 200
        assert (await append(hub, event("a-1"), token=mine)).status == 200  # now it is
        assert await put("others", "b-1", all_) == 200
        # Whoever could join any stream to what they read could read any stream.
        assert await put("mine", "b-1", named) == 403
        assert await put("mine", "a-1", named) == 200
        assert await store.relations.streams_of("mine") == ["a-1"]
