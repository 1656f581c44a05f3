"""The sequencer: what an append or import means, held against a plain model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core import sequencer as sequencer_module
from everlog.core.chain import GENESIS, HYDRATED, OUTDATED, link
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.sequencer import (
    EMPTY,
    LAST_STAMP,
    MAX_BATCH_EVENTS,
    Append,
    Head,
    Identity,
    Import,
    NewEvent,
    Placed,
    Sequencer,
    check_append,
    check_import,
    ids_of,
    streams_of,
)
from everlog.core.stamp import Clock
from everlog.core.stream import ANY, EXISTS, NEW, Expectation
from everlog.errors import (
    ClockAhead,
    EverlogError,
    IdConflict,
    InvalidInput,
    InvalidName,
    NotPortable,
    PartialRetry,
    TamperedRecord,
    TooLarge,
    WrongVersion,
)

NODE = "8f1e2d3c4b5a6978"
HERE = Identity(ledger="0" * 32, node=NODE, epoch="0" * 16)
NOW = 1_769_817_600_000


def new(id: str, stream: str = "a", **other: Any) -> NewEvent:
    fields: dict[str, Any] = {
        "type": "noted", "schema": 1, "register": "noted", "data": "1", "meta": "null",
        "correlation": id, "causation": None, "nonce": bytes(32),
    }  # fmt: skip
    return NewEvent(id=id, stream=stream, **{**fields, **other})


def foreign(id: str, stream: str = "a", *, ms: int = NOW, **other: Any) -> StoredRecord:
    created = Clock(ms, 0, "0000000000000001").stamp
    record = StoredRecord(
        7, 9, id, stream, "noted", 1, "noted", "f" * 32, id, None, created, "9" * 32, 0,
        bytes(32), "1", "null", b"", b"\0" * 32,
    )._replace(**other)  # fmt: skip
    return record._replace(hash=computed_hash(record))


class Store:
    """The least of a ledger around a sequencer: commits one batch of requests after another."""

    def __init__(self) -> None:
        self.head = EMPTY
        self.rows: list[StoredRecord] = []
        self.late: set[int] = set()
        self.registers: dict[tuple[str, str], tuple[str, str]] = {}

    def commit(self, *requests: Append | Import, now_ms: int = NOW) -> list[Placed | EverlogError]:
        by_id = {row.id: row for row in self.rows}
        sequencer = Sequencer(
            self.head,
            HERE,
            now_ms=now_ms,
            known={id: by_id[id] for id in ids_of(requests) if id in by_id},
            versions={
                stream: sum(row.stream == stream for row in self.rows)
                for stream in streams_of(requests)
            },
            newest=lambda stream, register: self.registers.get((stream, register)),
        )
        outcomes: list[Placed | EverlogError] = []
        for request in requests:
            before = (sequencer.head, list(sequencer.rows), sequencer.registers())
            try:
                outcomes.append(sequencer.place(request))
            except EverlogError as error:
                assert before == (sequencer.head, list(sequencer.rows), sequencer.registers())
                outcomes.append(error)
        self.rows += sequencer.rows
        self.late |= sequencer.late
        for stream, register, created, id in sequencer.registers():
            self.registers[stream, register] = (created, id)
        self.head = sequencer.head
        return outcomes

    def take(self, request: Append | Import, *, now_ms: int = NOW) -> Placed:
        [outcome] = self.commit(request, now_ms=now_ms)
        if isinstance(outcome, EverlogError):
            raise outcome
        return outcome


def holds(store: Store) -> None:
    """Asserts all that a ledger promises of its records, recomputed from nothing."""
    versions: dict[str, int] = {}
    newest: dict[tuple[str, str], tuple[str, str]] = {}
    chain, greatest, recorded = GENESIS, ("", ""), ""
    for position, row in enumerate(store.rows, 1):
        late = position in store.late
        versions[row.stream] = versions.get(row.stream, 0) + 1
        key = (row.stream, row.register)
        outdated = key in newest and newest[key] > row.order
        hydrated = row.recorded != row.created
        flags = (HYDRATED if hydrated else 0) | (OUTDATED if outdated else 0)
        newest[key] = max(newest.get(key, row.order), row.order)
        chain = link(chain, row.hash, version=row.version, flags=row.flags)
        assert (row.position, row.version, row.flags) == (position, versions[row.stream], flags)
        assert row.hash == computed_hash(row)
        assert row.chain == chain
        assert row.recorded > recorded
        assert late == (row.order < greatest)
        if not hydrated:
            assert row.created > max((r.created for r in store.rows[: position - 1]), default="")
            assert not late
            assert row.origin == HERE.ledger
        greatest = max(greatest, row.order)
        recorded = row.recorded
    assert len({row.id for row in store.rows}) == len(store.rows)
    assert store.registers == newest
    assert store.head.position == len(store.rows)
    assert (store.head.chain, store.head.newest) == (chain, greatest)
    assert store.head.clock >= max((row.recorded for row in store.rows), default="")


streams = st.sampled_from("ab")
registers = st.sampled_from(["noted", "other"])
expectations: st.SearchStrategy[Expectation] = st.sampled_from([ANY, ANY, NEW, EXISTS]) | (
    st.integers(0, 4)
)
ids = st.sampled_from([f"id-{n}" for n in range(24)])


def asked(id: str, stream: str, expect: Expectation, register: str, data: str) -> NewEvent:
    return new(id, stream, expect=expect, register=register, data=data)


def offered(id: str, stream: str, shift_ms: int, register: str) -> StoredRecord:
    return foreign(id, stream, ms=NOW + shift_ms, register=register)


appends = st.lists(
    st.builds(asked, ids, streams, expectations, registers, st.sampled_from(["1", "1", "1", "2"])),
    min_size=1,
    max_size=4,
    unique_by=lambda event: event.id,
).map(lambda events: Append(tuple(events)))
imports = st.lists(
    st.builds(offered, ids, streams, st.integers(-5, 5) | st.just(60_001), registers),
    min_size=1,
    max_size=4,
    unique_by=lambda record: record.id,
).map(lambda records: Import(tuple(records)))
histories = st.lists(
    st.tuples(st.integers(-5, 5), st.lists(appends | imports, max_size=4)), max_size=8
)


@given(histories)
def test_whatever_is_asked_the_promises_hold_and_a_refusal_leaves_nothing(
    history: list[tuple[int, list[Append | Import]]],
) -> None:
    store = Store()
    for shift_ms, requests in history:
        store.commit(*requests, now_ms=NOW + shift_ms)
        holds(store)


@given(histories)
def test_requests_together_in_a_batch_end_as_they_would_one_after_another(
    history: list[tuple[int, list[Append | Import]]],
) -> None:
    together, apart = Store(), Store()
    for shift_ms, requests in history:
        now_ms = NOW + shift_ms
        one = together.commit(*requests, now_ms=now_ms)
        other = [
            outcome for request in requests for outcome in apart.commit(request, now_ms=now_ms)
        ]
        assert [_comparable(each) for each in one] == [_comparable(each) for each in other]
    assert (together.rows, together.late, together.head) == (apart.rows, apart.late, apart.head)


def _comparable(outcome: Placed | EverlogError) -> object:
    return (type(outcome), str(outcome)) if isinstance(outcome, EverlogError) else outcome


def test_a_sequencer_that_forgets_what_is_outdated_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencer_module, "OUTDATED", 0)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_whatever_is_asked_the_promises_hold_and_a_refusal_leaves_nothing()


# --- appends ------------------------------------------------------------------------------------


def test_an_expectation_is_checked_as_if_the_events_before_it_were_there() -> None:
    store = Store()
    store.take(
        Append(
            (new("1", expect=NEW), new("2", expect=1), new("3", "b", expect=0), new("4", expect=2))
        )
    )
    with pytest.raises(WrongVersion) as caught:
        store.take(Append((new("5"), new("6", expect=3))))
    assert (caught.value.actual, caught.value.expected) == (4, 3)
    with pytest.raises(WrongVersion):
        store.take(Append((new("5", "c", expect=EXISTS),)))
    store.take(Append((new("5", "c"), new("6", "c", expect=EXISTS))))
    assert len(store.rows) == 6
    holds(store)


def test_a_retry_gets_the_original_records_whatever_it_expects() -> None:
    store = Store()
    first = store.take(Append((new("1"), new("2", "b"))))
    store.take(Append((new("3"),)))
    for expect in (ANY, NEW, EXISTS, 0, 77):
        again = Append((new("1", expect=expect, nonce=b"x" * 32), new("2", "b", expect=expect)))
        placed = store.take(again, now_ms=NOW + 9)
        assert placed == Placed(first.records, ())
    # In another order is the same call, too: each id gets its own record.
    assert store.take(Append((new("2", "b"), new("1")))).records == first.records[::-1]
    holds(store)


@pytest.mark.parametrize(
    ("field", "value"),
    [("stream", "z"), ("type", "other"), ("schema", 2), ("data", "2"), ("meta", "2")],
)
def test_an_id_with_other_content_is_refused_and_says_what_differs(field: str, value: Any) -> None:
    store = Store()
    store.take(Append((new("1"),)))
    stream = value if field == "stream" else "a"
    other = new("1", stream, **({} if field == "stream" else {field: value}))
    with pytest.raises(IdConflict) as caught:
        store.take(Append((other,)))
    assert (caught.value.event_id, caught.value.differs) == ("1", field)


@pytest.mark.parametrize(
    ("field", "value"),
    [("nonce", b"x" * 32), ("correlation", "y"), ("causation", "y"), ("register", "y")],
)
def test_what_a_retry_cannot_repeat_is_not_compared(field: str, value: Any) -> None:
    store = Store()
    first = store.take(Append((new("1"),)))
    assert store.take(Append((new("1", **{field: value}),))).records == first.records


def test_a_call_that_mixes_known_and_new_ids_is_refused_also_within_one_batch() -> None:
    store = Store()
    placed, mixed = store.commit(Append((new("1"),)), Append((new("1"), new("2"))))
    assert isinstance(placed, Placed)
    assert isinstance(mixed, PartialRetry)
    assert (mixed.known, mixed.unknown) == (("1",), ("2",))
    assert len(store.rows) == 1


def test_an_event_is_created_after_all_that_its_writer_had_read() -> None:
    store = Store()
    seen = Clock(NOW + 50_000, 7, "f" * 16).stamp
    placed = store.take(Append((new("1"), new("2")), observed=seen))
    assert [row.created for row in placed.records] == [
        Clock(NOW + 50_000, 8, NODE).stamp,
        Clock(NOW + 50_000, 9, NODE).stamp,
    ]
    [behind] = store.take(Append((new("3"),)), now_ms=NOW - 86_400_000).records
    assert behind.created == Clock(NOW + 50_000, 10, NODE).stamp
    assert behind.recorded == behind.created


# --- imports ------------------------------------------------------------------------------------


def test_an_import_keeps_what_travels_and_gives_what_is_this_ledgers() -> None:
    store = Store()
    store.take(Append((new("1"),)))
    record = foreign("2", correlation="c", causation="d")
    [row] = store.take(Import((record,))).new
    kept = ("id", "stream", "type", "schema", "register", "origin", "correlation", "causation",
            "created", "nonce", "data", "meta", "hash")  # fmt: skip
    assert all(getattr(row, name) == getattr(record, name) for name in kept)
    assert (row.position, row.version) == (2, 2)
    assert row.recorded > store.rows[0].recorded
    again = store.take(Import((record, foreign("3"))))
    assert again.records[0] == row
    assert [each.id for each in again.new] == ["3"]
    holds(store)


def test_a_record_twice_in_an_import_is_one_record() -> None:
    store = Store()
    placed = store.take(Import((foreign("1"), foreign("2"), foreign("1"))))
    assert [row.position for row in placed.records] == [1, 2, 1]
    assert placed.new == placed.records[:2]
    with pytest.raises(IdConflict):
        store.take(Import((foreign("3"), foreign("3", "b"))))
    holds(store)


def test_what_is_known_with_other_content_or_too_far_ahead_refuses_the_whole_import() -> None:
    store = Store()
    store.take(Append((new("1"),)))
    with pytest.raises(IdConflict):
        store.take(Import((foreign("2"), foreign("1"))))
    with pytest.raises(ClockAhead, match="record 3"):
        store.take(Import((foreign("2"), foreign("3", ms=NOW + 60_001))))
    assert len(store.rows) == 1
    store.take(Import((foreign("3", ms=NOW + 60_001),), max_offset_ms=None))
    holds(store)


def test_outdated_is_judged_per_stream_and_register_by_created_then_id() -> None:
    store = Store()
    newest = foreign("5", ms=NOW)
    store.take(Import((newest,)))
    cases = [
        (foreign("4", ms=NOW), True),  # the same moment, a smaller id
        (foreign("6", ms=NOW), False),
        (foreign("7", ms=NOW - 1), True),
        (foreign("8", ms=NOW - 1, register="other"), False),
        (foreign("9", "b", ms=NOW - 1), False),
    ]
    for record, outdated in cases:
        [row] = store.take(Import((record,))).new
        assert bool(row.flags & OUTDATED) == outdated
        assert row.flags & HYDRATED
    holds(store)


def test_a_refused_import_in_a_batch_does_not_make_others_outdated() -> None:
    store = Store()
    refused, placed = store.commit(
        Import((foreign("1", ms=NOW + 100), foreign("2", ms=NOW + 99_999))),
        Import((foreign("3", ms=NOW),)),
    )
    assert isinstance(refused, ClockAhead)
    assert isinstance(placed, Placed)
    assert placed.new[0].flags == HYDRATED
    holds(store)


# --- what is checked before ---------------------------------------------------------------------


def test_an_append_that_cannot_be_stored_is_refused() -> None:
    for request, error in (
        (Append(()), InvalidInput),
        (Append((new(""),)), InvalidName),
        (Append((new("1", "a\n"),)), InvalidName),
        (Append((new("1", correlation=""),)), InvalidName),
        (Append((new("1", causation="\0"),)), InvalidName),
        (Append((new("1"),), relations=(("", "a"),)), InvalidName),
        (Append((new("1"),), relations=(("r", "\x7f"),)), InvalidName),
        (Append((new("1"), new("1"))), InvalidInput),
        (Append(tuple(new(str(n)) for n in range(MAX_BATCH_EVENTS + 1))), TooLarge),
        (Append((new("1", data='"' + "x" * 2**20 + '"'),)), TooLarge),
        (Append(tuple(new(str(n), data=f'"{"x" * 2**19}"') for n in range(33))), TooLarge),
    ):
        with pytest.raises(error):
            check_append(request)
    whole = Append((new("1"), new("2")), relations=(("r", "a"),))
    assert check_append(whole) is whole


def test_a_record_that_is_not_whole_is_refused() -> None:
    check_import(Import((foreign("1"),)))
    late = foreign("1")._replace(created=LAST_STAMP)
    check_import(Import((late._replace(hash=computed_hash(late)),)))

    def rehashed(**other: Any) -> StoredRecord:
        record = foreign("1")._replace(**other)
        return record._replace(hash=computed_hash(record))

    tampered = [
        foreign("1")._replace(data="2"),
        foreign("1")._replace(nonce=b"x" * 32),
        foreign("1")._replace(origin="x"),
        rehashed(created="x" * 32),
        rehashed(created="f" * 32),
        rehashed(data='{"b":1,"a":2}'),
        rehashed(meta="1.0"),
        rehashed(schema=0),
        rehashed(nonce=b"x"),
    ]
    for record in tampered:
        with pytest.raises(TamperedRecord):
            check_import(Import((record,)))
    for record in (rehashed(data="NaN"), rehashed(meta='"\\u0000"')):
        with pytest.raises(NotPortable):
            check_import(Import((record,)))
    for name in ("stream", "type", "register", "origin", "correlation", "causation", "id"):
        with pytest.raises(InvalidName):
            check_import(Import((rehashed(**{name: "a\nb"}),)))
    check_import(Import((foreign("1"), foreign("1"))))
    with pytest.raises(TooLarge):
        check_import(Import((rehashed(data='"' + "x" * 2**20 + '"'),)))


def test_the_last_stamp_leaves_a_ledgers_clock_room_to_go_on() -> None:
    store = Store()
    record = foreign("1", ms=int(LAST_STAMP[:12], 16))
    store.take(Import((record,), max_offset_ms=None))
    store.take(Append((new("2"), new("3"))))
    holds(store)


def test_a_head_in_which_nothing_has_happened_is_the_same_everywhere() -> None:
    assert Head(position=0, chain=GENESIS, clock="0" * 32, newest=("", "")) == EMPTY
