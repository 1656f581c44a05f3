"""What the routes answer, over an application in memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.errors import InvalidInput
from everlog.server import Limits, Pattern, TokenFile, app
from everlog.server.live import Pieces
from everlog.sync.receipts import receipt_for
from everlog.wire.cursors import read_cursor
from everlog.wire.messages import Offer
from everlog.wire.pieces import read_piece
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
    offered_store,
    push,
    records_of,
    until,
)


async def test_an_append_is_pulled_and_read_with_all_that_chain_hashes() -> None:
    async with offered() as (store, hub):
        reply = await append(hub, event("a-1", id="m1"), event("b-1"))
        assert reply.status == 200
        assert reply.json["records"][0]["record"]["id"] == "m1"
        records = await records_of(store)
        pulled = await call(hub, "GET", "/v1/pull", query="cursor=0&limit=1")
        piece = read_piece(pulled.body)
        assert list(piece.records) == records[:1]
        assert piece.receipts == (receipt_for(SECRET, records[0]),)
        assert not piece.up_to_date
        cursor = pulled.lines[-1]["cursor"]
        assert read_cursor(cursor).mark == (1, records[0].chain)
        rest = await call(hub, "GET", "/v1/pull", query=f"cursor={cursor}")
        assert read_piece(rest.body).records == (records[1],)
        assert read_piece(rest.body).up_to_date


async def test_what_is_below_the_head_may_be_kept_and_the_head_not() -> None:
    async with offered() as (store, hub):
        await append(hub, event("a-1"), event("b-1"))
        full = await call(hub, "GET", "/v1/pull", query="limit=1")
        assert full.headers["cache-control"] == "private, no-cache"
        assert full.lines[-1]["chain"] in full.headers["etag"]
        for query in ("", "limit=1&prefix=a-"):
            other = await call(hub, "GET", "/v1/pull", query=query)
            assert (other.headers["cache-control"], other.headers.get("etag")) == ("no-store", None)
        # Nor what a fail-over could take back.
        hub.answering.edges.pieces = Pieces(store.as_hub(stable=0).pull, "", now_s=lambda: 0.0)
        unstable = await call(hub, "GET", "/v1/pull", query="limit=1")
        assert unstable.headers["cache-control"] == "no-store"


async def test_a_piece_that_is_known_is_not_sent_again_until_another_epoch_has_begun() -> None:
    async with offered() as (store, hub):
        await append(hub, event("a-1"), event("b-1"))
        full = await call(hub, "GET", "/v1/pull", query="limit=1")
        tag = full.headers["etag"]

        async def again(known: str, query: str = "limit=1") -> Reply:
            headers = {"if-none-match": known}
            return await call(hub, "GET", "/v1/pull", query=query, headers=headers)

        await append(hub, event("a-1"))  # the log grows, and the piece is the same
        for known in (tag, tag[2:], f'"other", {tag}', f'W/"x",{tag} , "y"', "*"):
            reply = await again(known)
            assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag), known
            assert reply.headers["cache-control"] == "private, no-cache"
            assert reply.headers["vary"] == full.headers["vary"]
            assert not {"content-type", "content-length"} & {*reply.headers}
        for known in ('"other"', tag.strip('W/"'), tag[:-1], "", f'"{tag}'):
            assert (await again(known)).status == 200, known
        assert (await again("*", "")).status == 200  # of what has no tag, nothing can be known
        assert (await again(tag, f"cursor=2.{'00' * 32}.{'99' * 16}")).status == 409
        await store.begin_epoch()
        async with offered_store(store) as renewed:
            headers = {"if-none-match": tag}
            reply = await call(renewed, "GET", "/v1/pull", query="limit=1", headers=headers)
            assert reply.status == 200
            assert reply.lines[0]["epoch"] != full.lines[0]["epoch"]


async def test_the_document_that_is_known_is_not_sent_again() -> None:
    async with offered() as (_, hub):
        document = await call(hub, "GET", "/openapi.json")
        headers = {"if-none-match": document.headers["etag"]}
        reply = await call(hub, "GET", "/openapi.json", headers=headers)
        assert (reply.status, reply.body) == (304, b"")
        tagged = {
            path
            for path, operations in document.json["paths"].items()
            if "304" in operations.get("get", {}).get("responses", {})
        }
        assert tagged == {"/v1/pull", "/openapi.json"}


async def test_a_retry_of_an_append_is_answered_and_not_stored_twice() -> None:
    async with offered() as (store, hub):
        first = await append(hub, event("a-1", id="m1", nonce="00" * 32))
        again = await append(hub, event("a-1", id="m1", nonce="11" * 32))
        assert first.json == again.json
        assert len(await records_of(store)) == 1
        other = await append(hub, event("a-1", id="m1", data={"n": 2}))
        assert (other.status, other.code) == (409, "id_conflict")


async def test_a_wrong_version_says_what_was_expected_and_what_is() -> None:
    async with offered() as (_, hub):
        await append(hub, event("a-1"))
        reply = await append(hub, event("a-1", expect="new"))
        assert (reply.status, reply.code) == (412, "wrong_version")
        assert reply.json["facts"] == {"stream": "a-1", "expected": "new", "actual": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"data": "not json"},
        {"type": "\x00"},
        {"type": ""},
        {"register": "x" * 300},
        {"id": ""},
        {"stream": "a\nb"},
        {"correlation": "\x7f"},
        {"data": 2**60},
        {"meta": "{"},
        {"expect": -1},
        {"nonce": "0"},
        {"schema": 0},
        {"data": "x" * 1_100_000},
    ],
    ids=lambda change: str(change)[:30],
)
async def test_an_append_that_cannot_be_stored_is_refused_and_changes_nothing(
    change: dict[str, object],
) -> None:
    async with offered() as (store, hub):
        reply = await append(hub, {**event("a-1"), **change})
        assert reply.status in (400, 413, 422)
        assert reply.code
        assert await records_of(store) == []


@pytest.mark.parametrize("path", ["/v1/pull", "/v1/read"])
@pytest.mark.parametrize("name", ["prefix", "relation", "type"])
async def test_a_scope_that_names_what_cannot_be_is_refused(path: str, name: str) -> None:
    async with offered() as (_, hub):
        for wrong in ("%00", "a%0Ab", "", "x" * 300):
            reply = await call(hub, "GET", path, query=f"{name}={wrong}")
            assert (reply.status, reply.code) == (422, "invalid_name"), wrong


async def test_data_that_is_text_is_put_into_the_form_that_is_hashed() -> None:
    async with offered() as (store, hub):
        await append(hub, event("a-1", data='{ "b": 1.0, "a": 2 }', meta='{"x": 1}'))
        [record] = await records_of(store)
        assert (record.data, record.meta) == ('{"a":2,"b":1}', '{"x":1}')


async def test_a_cursor_of_another_history_is_told_so_and_a_hello_names_what_both_have() -> None:
    async with offered() as (store, hub):
        await append(hub, event("a-1"), event("a-1"))
        one, two = await records_of(store)
        ledger = (await store.info()).ledger
        wrong = f"2.{'00' * 32}.{ledger}"
        reply = await call(hub, "GET", "/v1/pull", query=f"cursor={wrong}")
        assert (reply.status, reply.code) == (409, "forked")
        marks = [[1, one.chain.hex()], [2, "00" * 32]]
        greeted = await call(hub, "POST", "/v1/hello", json=hello(checkpoints=marks))
        assert greeted.json["resume"] == [1, one.chain.hex()]
        assert greeted.json["stable"] == two.position
        foreign = f"1.{one.chain.hex()}.{'99' * 16}"
        reply = await call(hub, "GET", "/v1/pull", query=f"cursor={foreign}")
        assert (reply.status, reply.code) == (409, "wrong_upstream")


async def test_a_cursor_of_another_scope_is_refused() -> None:
    async with offered() as (_, hub):
        await append(hub, event("a-1"), event("b-1"), event("a-2"))
        piece = await call(hub, "GET", "/v1/pull", query="prefix=a-&limit=1")
        cursor = piece.lines[-1]["cursor"]
        on = await call(hub, "GET", "/v1/pull", query=f"prefix=a-&cursor={cursor}")
        assert [line["record"]["stream"] for line in on.lines[1:-1]] == ["a-2"]
        for other in ("", "prefix=b-&", "prefix=a-&type=x&", "prefix=a-&relation=r&"):
            reply = await call(hub, "GET", "/v1/pull", query=f"{other}cursor={cursor}")
            assert (reply.status, reply.code) == (409, "scope_changed"), other


async def test_a_cursor_is_refused_once_the_relation_has_changed() -> None:
    async with offered() as (store, hub):
        await append(hub, event("a-1"), event("b-1"))
        await store.relations.add("mine", "a-1")
        piece = await call(hub, "GET", "/v1/pull", query="relation=mine")
        cursor = piece.lines[-1]["cursor"]
        query = f"relation=mine&cursor={cursor}"
        assert (await call(hub, "GET", "/v1/pull", query=query)).status == 200
        await store.relations.add("mine", "b-1")
        reply = await call(hub, "GET", "/v1/pull", query=query)
        assert (reply.status, reply.code) == (409, "scope_changed")


async def test_a_push_is_judged_record_by_record() -> None:
    async with EventStore.open("memory:") as edge, offered() as (store, hub):
        async with offered() as (_, other):
            await append(other, event("a-1"), event("a-1"), event("b-1"))
            records = await records_of(_)
        del edge
        origin = records[0].origin
        bad = records[0]._replace(data='{"n":2}')
        offers = [Offer(record) for record in (bad, records[1], records[2])]
        reply = await push(hub, offers, ledger=origin)
        assert [each["status"] for each in reply.json["results"]] == [
            "tampered",
            "waiting",
            "accepted",
        ]
        again = await push(hub, [Offer(record) for record in records], ledger=origin)
        assert [each["status"] for each in again.json["results"]] == [
            "accepted",
            "accepted",
            "duplicate",
        ]
        assert len(await records_of(store)) == 3


async def test_a_foreign_record_is_taken_with_a_receipt_alone() -> None:
    async with offered() as (other, there):
        await append(there, event("a-1"), event("b-1"))
        one, two = await records_of(other)
    async with offered() as (_, hub):
        offers = [Offer(one, 1, receipt_for(SECRET, one)), Offer(two, 1, bytes(32))]
        reply = await push(hub, offers, ledger=LEDGER)
        assert [each["status"] for each in reply.json["results"]] == ["accepted", "rejected"]


async def test_pages_of_a_read_follow_each_other() -> None:
    async with offered() as (_, hub):
        for _ in range(5):
            await append(hub, event("a-1"), event("b-1"))
        body: dict[str, object] = {"selection": {"streams": ["a-1"]}, "size": 2}
        seen: list[int] = []
        while True:
            reply = await call(hub, "POST", "/v1/read", json=body)
            *records, last = reply.lines
            seen += [record["position"] for record in records]
            if last["page"]["cursor"] is None:
                break
            body = {**last["page"], "size": 2}
        assert seen == [1, 3, 5, 7, 9]
        reply = await call(hub, "GET", "/v1/read", query="stream=b-1&backwards=true&limit=2")
        assert [line["position"] for line in reply.lines[:-1]] == [10, 8]


async def test_what_else_there_is_to_be_read() -> None:
    async with offered() as (store, hub):
        await append(hub, event("tenant/1 ü", id="m1"))
        await store.relations.add("all", "tenant/1 ü")
        stream = await call(hub, "GET", "/v1/streams/tenant/1 ü")
        assert (stream.json["version"], stream.json["stream"]) == (1, "tenant/1 ü")
        assert (await call(hub, "GET", "/v1/streams/none")).code == "not_found"
        found = await call(hub, "POST", "/v1/find", json={"ids": ["m1", "m2"]})
        assert [each and each["record"]["id"] for each in found.json["records"]] == ["m1", None]
        streams = await call(hub, "POST", "/v1/streams", json={"relations": ["all"]})
        assert streams.json == {"streams": ["tenant/1 ü"]}
        relations = await call(hub, "POST", "/v1/relations", json={"streams": ["tenant/1 ü"]})
        assert relations.json == {"relations": ["all"]}
        status = await call(hub, "GET", "/v1/status")
        assert (status.json["position"], status.json["protocol"]) == (1, [1])
        assert (await call(hub, "GET", "/healthz")).json == {"status": "ok"}


async def test_what_is_found_is_no_larger_than_a_body_may_be() -> None:
    limits = Limits(body_bytes=50_000)
    async with offered(limits=limits) as (_, hub):
        for id in ("m1", "m2"):
            await append(hub, {**event("a", id=id), "data": {"t": "x" * 20_000}})
        found = await call(hub, "POST", "/v1/find", json={"ids": ["m1", "m2"]})
        assert [each["record"]["id"] for each in found.json["records"]] == ["m1", "m2"]
        found = await call(hub, "POST", "/v1/find", json={"ids": ["m1"] * 3})
        assert (found.status, found.code) == (413, "too_large")


async def test_a_wait_ends_with_news_or_with_its_time() -> None:
    async with offered() as (_, hub):
        waiting = asyncio.create_task(call(hub, "GET", "/v1/wait", query="position=0&timeout_s=30"))
        await asyncio.sleep(0)
        await append(hub, event("a-1"))
        assert (await waiting).json == {"position": 1}
        nothing = await call(hub, "GET", "/v1/wait", query="position=1&timeout_s=0.01")
        assert nothing.json == {"position": 1}


async def test_a_server_that_stops_lets_go_who_waits() -> None:
    async with offered() as (_, hub):
        waiting = asyncio.create_task(call(hub, "GET", "/v1/wait", query="position=9&timeout_s=30"))
        events = asyncio.create_task(
            call(hub, "GET", "/v1/pull", headers={"accept": "text/event-stream"})
        )
        await until(lambda: hub.answering.live, what="it follows")
        hub.stop()
        assert (await waiting).status == 200
        assert (await events).status == 200
        assert (await call(hub, "GET", "/healthz")).status == 503


async def test_no_path_method_or_media_type_is_answered_but_those_of_the_table() -> None:
    async with offered() as (_, hub):
        assert (await call(hub, "GET", "/")).code == "no_such_path"
        assert (await call(hub, "GET", "/v1/pull/")).status == 404
        for method in ("HEAD", "POST", "OPTIONS", "TRACE", "DELETE", "PUT"):
            reply = await call(hub, method, "/v1/pull")
            assert (reply.status, reply.headers["allow"]) == (405, "GET"), method
        wrong = await call(hub, "GET", "/v1/pull", headers={"accept": "text/html"})
        assert (wrong.status, wrong.code) == (406, "not_acceptable")
        for media in ("text/plain", "application/json; charset=utf-8x", ""):
            reply = await call(hub, "POST", "/v1/push", body=b"x", headers={"content-type": media})
            assert reply.status == 415, media


async def test_a_body_that_is_compressed_or_too_large_is_not_looked_at() -> None:
    limits = Limits(body_bytes=1_000, bodies_bytes=1_500)
    async with offered(limits=limits) as (_, hub):
        bomb = {"content-type": "application/json", "content-encoding": "gzip"}
        reply = await call(hub, "POST", "/v1/append", body=b"\x1f\x8b", headers=bomb)
        assert (reply.status, reply.code) == (415, "compressed")
        assert reply.headers["connection"] == "close"
        large = {"content-type": "application/json", "content-length": "1001"}
        reply = await call(hub, "POST", "/v1/append", body=b"{}", headers=large)
        assert (reply.status, reply.code) == (413, "too_large")
        endless = [b" " * 400] * 5
        lies = {"content-type": "application/json", "content-length": "5"}
        reply = await call(hub, "POST", "/v1/append", body=endless, headers=lies)
        assert (reply.status, reply.code) == (413, "too_large")
        assert hub.bodies.bytes == 0


async def test_who_asks_too_often_is_told_when_to_ask_again() -> None:
    limits = Limits(address_requests_per_s=1)
    async with offered(limits=limits) as (_, hub):
        replies = [await call(hub, "GET", "/healthz") for _ in range(5)]
        assert [reply.status for reply in replies[:4]] == [200] * 4
        assert (replies[4].status, replies[4].code) == (429, "too_busy")
        assert int(replies[4].headers["retry-after"]) >= 1
        assert (await call(hub, "GET", "/healthz", client="::1")).status == 200


async def test_without_tokens_it_answers_no_other_host_and_no_web_page() -> None:
    async with offered() as (_, hub):
        for host in ("evil.example", "evil.example:80", "localhost.evil.example", "[::2]:80"):
            reply = await call(hub, "GET", "/v1/status", headers={"host": host})
            assert (reply.status, reply.code) == (403, "not_allowed"), host
        for host in ("localhost", "127.0.0.1:8787", "[::1]:80", "[::1]"):
            assert (await call(hub, "GET", "/v1/status", headers={"host": host})).status == 200
        reply = await call(hub, "GET", "/v1/status", headers={"origin": "http://localhost"})
        assert reply.status == 403


async def test_tokens_without_a_secret_are_refused(tmp_path: Path) -> None:
    async with EventStore.open("memory:") as store:
        with pytest.raises(InvalidInput, match="secret"):
            app(store, tokens=TokenFile(tmp_path / "tokens.json"))


async def test_a_stream_of_events_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    async with offered() as (_, hub):
        await append(hub, event("a-1"))
        accept = {"accept": "text/event-stream"}
        first = asyncio.create_task(call(hub, "GET", "/v1/pull", headers=accept))
        await until(lambda: hub.answering.live, what="it follows")
        await append(hub, event("a-1"))
        await append(hub, event("b-1"))
        news = hub.answering.news
        await until(lambda: list(news.waited_for) == [3], what="it has all, and waits for more")
        hub.stop()
        body = (await first).body.decode()
        ids = [line[4:] for line in body.split("\n") if line.startswith("id: ")]
        assert read_cursor(ids[-1]).mark.position == 3
    assert body.count('data: {"record"') == 3


async def test_every_id_of_a_token_file_is_its_own(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[ALL], push=[Pattern(prefix="order-")])
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    content = (tmp_path / "tokens.json").read_text()
    assert plain not in content
    assert plain.split("_", 2)[2] not in content
    assert [token.name for token in TokenFile(tmp_path / "tokens.json").tokens()] == ["shop"]
    with pytest.raises(InvalidInput, match="already"):
        tokens.create("shop", pull=[ALL])
    with pytest.raises(InvalidInput, match="may do nothing"):
        tokens.create("other")
    assert json.loads(content)["format"] == 1
