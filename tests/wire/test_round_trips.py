"""What is written to the wire is read back as what it was, and what is no message is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import everlog.errors
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Order, Page, Selection
from everlog.core.sequencer import EMPTY, Append, Identity, NewEvent
from everlog.core.stream import ANY, EXISTS, NEW
from everlog.core.taking import BEGINNING, Judged, Mark
from everlog.core.token import ResumeToken
from everlog.errors import (
    EverlogError,
    InvalidMessage,
    NotAllowed,
    NotAuthenticated,
    Refused,
    StorageError,
    TransportFailed,
    WrongVersion,
)
from everlog.wire import cursors, pieces, problems, reads, talks
from everlog.wire.json_text import read_object
from everlog.wire.messages import Hello, Made, Offer, Pulled, Pushed, Scope, Welcome
from everlog.wire.records import (
    offer_line,
    read_offer,
    read_receipt,
    read_record,
    record_line,
)
from tests.core.test_errors import CLASSES, WITH_FACTS

HUB = "0123456789abcdef" * 2
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
positions = st.integers(0, 2**63 - 1)
hashes = st.binary(min_size=32, max_size=32)
marks = st.builds(Mark, positions, hashes)
records = st.builds(
    StoredRecord,
    position=positions,
    version=positions,
    id=texts,
    stream=texts,
    type=texts,
    schema=st.integers(1, 2**31 - 1),
    register=texts,
    origin=texts,
    correlation=texts,
    causation=st.none() | texts,
    created=texts,
    recorded=texts,
    flags=st.integers(0, 255),
    nonce=hashes,
    data=texts,
    meta=texts,
    hash=hashes,
    chain=hashes,
)
scopes = st.builds(Scope, st.none() | texts, st.none() | texts, st.none() | st.tuples(texts, texts))


@given(records, st.none() | hashes)
def test_a_record_comes_back_as_it_was(record: StoredRecord, receipt: bytes | None) -> None:
    line = record_line(record, receipt)
    assert line.count(b"\n") == 1
    fields = read_object(line)
    assert read_record(fields) == record
    assert read_receipt(fields) == receipt


@given(records, st.none() | positions, st.none() | hashes)
def test_an_offer_comes_back_as_it_was(
    record: StoredRecord, version: int | None, receipt: bytes | None
) -> None:
    offer = Offer(record, version, receipt)
    assert read_offer(read_object(offer_line(offer))) == offer
    assert talks.read_offers(b"".join(talks.write_offers([offer, offer]))) == [offer, offer]


@given(marks, marks, st.lists(records, max_size=3), st.booleans(), texts, st.booleans())
def test_a_piece_of_history_comes_back_both_ways(
    start: Mark, end: Mark, given: list[StoredRecord], last: bool, scope: str, vouched: bool
) -> None:
    receipts = tuple(record.hash for record in given) if vouched else ()
    pulled = Pulled("epoch", start, tuple(given), receipts, end, last, scope, start.position)
    assert pieces.read_piece(b"".join(pieces.piece_lines(pulled, HUB))) == pulled
    sent = pieces.piece_events(pulled, HUB)
    events, pieces_read = pieces.EventReader(), pieces.PieceReader()
    found = [
        (event.id, piece)
        for at in range(len(sent))  # byte by byte: a proxy may cut anywhere
        for event in events.feed(sent[at : at + 1])
        if (piece := pieces_read.feed(event.data)) is not None
    ]
    assert found == [(cursors.write_cursor(end, HUB, cursors.scope_id(scope)), pulled)]
    assert pieces_read.is_between


@given(marks, marks, st.lists(records, max_size=3), st.booleans())
def test_where_a_piece_ends_is_told_by_its_last_line(
    start: Mark, end: Mark, given: list[StoredRecord], last: bool
) -> None:
    pulled = Pulled("epoch", start, tuple(given), (), end, last, "", start.position)
    body = b"".join(pieces.piece_lines(pulled, HUB))
    assert pieces.end_of(body) == (None if last else end)
    assert pieces.end_of(body[:-1]) is None
    for line in (
        b"",
        b"\n",
        b"no JSON\n",
        b"[]\n",
        b'{"to":1}\n',
        pieces.piece_lines(pulled, HUB)[0],
    ):
        assert pieces.end_of(line) is None


def test_a_piece_that_was_cut_off_is_none() -> None:
    whole = b"".join(
        pieces.piece_lines(Pulled("epoch", BEGINNING, (), (), Mark(1, bytes(32)), True), HUB)
    )
    for size in range(len(whole)):
        with pytest.raises(InvalidMessage):
            pieces.read_piece(whole[:size])
    with pytest.raises(InvalidMessage):
        pieces.read_piece(whole + whole)


@given(marks, st.none() | texts)
def test_a_cursor_comes_back_as_it_was(mark: Mark, words: str | None) -> None:
    scope = None if words is None else cursors.scope_id(words)
    read = cursors.read_cursor(cursors.write_cursor(mark, HUB, scope))
    assert read == (mark, HUB, scope)


@pytest.mark.parametrize("text", ["1", "00", "-1", "0.0", "01." + "0" * 64 + "." + HUB, "x" * 99])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage):
        cursors.read_cursor(text)


def test_the_beginning_is_a_cursor_of_every_hub() -> None:
    assert cursors.read_cursor("0") == (BEGINNING, None, None)


@given(st.lists(marks, max_size=5), scopes)
def test_a_hello_comes_back_as_it_was(given: list[Mark], scope: Scope) -> None:
    greeting = talks.Greeting(Hello(HUB, "1" * 16, "2" * 16, (1, 7)), tuple(given), scope)
    assert talks.read_greeting(talks.write_greeting(greeting)) == greeting


@given(st.none() | marks)
def test_the_answer_to_a_hello_comes_back_as_it_was(mark: Mark | None) -> None:
    welcome = Welcome(HUB, "3" * 16, 1, 60_000, ("order-",), 7)
    reception = talks.Reception(welcome, mark, "ab", 500, 10_000)
    assert talks.read_reception(talks.write_reception(reception)) == reception


@given(texts, st.none() | positions, texts)
def test_the_answer_to_a_push_comes_back_as_it_was(
    id: str, position: int | None, reason: str
) -> None:
    judged = (Judged(id, "rejected", position, reason),)
    pushed = Pushed("epoch", Mark(3, b"c" * 32), judged, 5, 4)
    assert talks.read_pushed(talks.write_pushed(pushed)) == pushed


@given(texts, st.sampled_from([ANY, NEW, EXISTS, 0, 7]), st.none() | texts.filter(bool))
def test_an_append_comes_back_as_it_was(data: str, expect: object, causation: str | None) -> None:
    event = NewEvent(
        "id",
        "s",
        "t",
        2,
        "r",
        data,
        "null",
        "c",
        causation,
        bytes(32),
        expect,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )
    request = Append((event,), (("all", "s"),), "0" * 32, Mark(3, bytes(range(32))))
    text = talks.write_append(request, HUB)
    assert talks.read_append(text, new_id=str, new_nonce=bytes) == (request, HUB)


def test_an_append_needs_a_stream_a_type_and_data() -> None:
    body = b'{"events":[{"stream":"s","type":"t","data":{"b":1.0,"a":null}}]}'
    read = talks.read_append(body, new_id=lambda: "new", new_nonce=lambda: bytes(32))
    event = NewEvent(
        "new", "s", "t", 1, "t", '{"a":null,"b":1}', "null", "new", None, bytes(32), ANY
    )
    assert read == (Append((event,)), None)


@given(st.lists(records, max_size=3), st.none() | marks)
def test_what_was_appended_or_found_comes_back(given: list[StoredRecord], at: Mark | None) -> None:
    made = Made((*given,), at)
    assert talks.read_made(talks.write_made(made)) == made
    found = [*given, None]
    assert reads.read_found(reads.write_found(found)) == found


selections = st.builds(
    Selection,
    streams=st.none() | st.tuples(texts),
    relation=st.none() | texts,
    prefix=st.none() | texts,
    types=st.none() | st.tuples(texts, texts),
    after=positions,
    until=st.none() | positions,
    as_of=st.none() | st.just("0" * 32),
    limit=st.none() | positions,
    order=st.sampled_from(Order),
    seen=st.none() | st.builds(ResumeToken, st.just(HUB), st.just("4" * 16), positions, hashes),
    resolved=st.booleans(),
    tombstones=st.just(False),  # a hub has none
)
page_cursors = st.none() | st.builds(
    Cursor, positions, st.none() | st.tuples(texts, texts), positions, st.sampled_from(["", "late"])
)


@given(selections, page_cursors, st.lists(records, max_size=2), st.booleans())
def test_a_read_and_its_page_come_back(
    selection: Selection, cursor: Cursor | None, given: list[StoredRecord], backwards: bool
) -> None:
    selection = selection._replace(backwards=backwards and selection.order is Order.POSITION)
    read = reads.ReadText(selection, cursor, 10)
    assert reads.read_read(reads.write_read(read)) == read
    page = Page(given, selection, cursor)
    assert reads.read_page(b"".join(reads.page_lines(page))) == page


def test_a_read_can_be_asked_for_by_parameters() -> None:
    given = [("stream", "a"), ("stream", "b"), ("after", "7"), ("backwards", "true")]
    assert reads.read_parameters(given).selection == Selection(
        streams=("a", "b"), after=7, backwards=True
    )


def test_backwards_goes_with_the_order_of_position_alone() -> None:
    with pytest.raises(InvalidMessage):
        reads.read_parameters([("order", "created"), ("backwards", "true")])


def test_a_status_and_a_stream_come_back() -> None:
    status = reads.StatusText(Identity(HUB, "1" * 16, "2" * 16), EMPTY, 5, (1,), ("a",), 2)
    assert reads.read_status(reads.write_status(status)) == status
    stream = reads.StreamText("user-1", 3, 7, "0" * 32)
    assert reads.read_stream(reads.write_stream(stream)) == stream


# --- errors -------------------------------------------------------------------------------------

HOME = {
    *("InvalidUrl", "EventDefinitionError", "EventAlreadyRegistered", "UnsavedEvents"),
    *("ReadOnlyAggregate", "SnapshotError", "DecodeError", "HandlerFailed", "MisusedStore"),
    *("HandlerHeldTransaction", "StoreClosed", "ForkedConnection", "WrongEventLoop"),
    *("BreakingChange", "NotPrinted", "InvalidConfig", "ContentGone"),
    *("LeaseLost", "OtherVersion", "EverlogError", "SyncError", "UpstreamFault"),
    *(
        "HandlerTimedOut",
        "HandlersLeftBehind",
        "TransportFailed",
        "Refused",
        "CannotOpen",
        "DamagedFile",
        "ForeignFile",
        "NewerFormat",
        "OlderFormat",
    ),
}
"""Errors that say nothing to who asks from afar: they cross as something more general."""


def test_every_error_crosses_or_is_known_to_stay() -> None:
    crossing = {each.cls.__name__ for each in problems.CROSSING}
    assert crossing | HOME == {*CLASSES}
    assert not crossing & HOME


@pytest.mark.parametrize("crossing", problems.CROSSING, ids=lambda each: each.code)
def test_an_error_comes_back_as_the_same_class_with_the_same_facts(
    crossing: problems.Crossing,
) -> None:
    make: Callable[[], EverlogError] = WITH_FACTS.get(
        crossing.cls, lambda: crossing.cls("what happened; what to do")
    )
    error = make()
    problem = problems.problem_of(error)
    again = problems.error_of(problem.body, status=problem.status)
    assert type(again) is type(error)
    assert {**vars(again)} == {name: vars(error)[name] for name in crossing.facts}
    assert {*vars(error)} - {*crossing.facts} == set()
    assert (str(again) == str(error)) is crossing.is_told
    assert json.loads(problem.body)["status"] == problem.status


def test_an_expectation_crosses_in_the_fact_that_holds_it() -> None:
    problem = problems.problem_of(WrongVersion("s", expected=NEW, actual=2))
    again = problems.error_of(problem.body, status=problem.status)
    assert isinstance(again, WrongVersion)
    assert again.expected is NEW


def test_what_the_storage_says_stays_at_home() -> None:
    secret = "postgresql://admin:hunter2@db/app"
    for name, cls in CLASSES.items():
        if issubclass(cls, StorageError) and cls not in WITH_FACTS:
            problem = problems.problem_of(cls(f"{secret}: {name}"))
            assert b"hunter2" not in problem.body


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (401, NotAuthenticated),
        (403, NotAllowed),
        (404, Refused),
        (413, Refused),
        (500, TransportFailed),
        (502, TransportFailed),
        (503, TransportFailed),
        (418, TransportFailed),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>bad gateway</html>",
        b"{}",
        b'{"code":"nothing"}',
        b'{"code":"wrong_version"}',
        b'{"code":["x"]}',
        b'{"code":"too_busy","detail":"x","facts":[]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_problem_of_ours_is_judged_by_its_status(
    body: bytes, status: int, cls: type[EverlogError]
) -> None:
    assert type(problems.error_of(body, status=status)) is cls


def test_another_history_is_told_with_the_place_that_both_have() -> None:
    mark = Mark(3, bytes(range(32)))
    assert problems.read_forked(problems.forked_problem("e", mark).body) == ("e", mark)
    assert problems.read_forked(problems.forked_problem("e", None).body) == ("e", None)
    other = problems.problem_of(WrongVersion("s", expected=1, actual=2))
    assert problems.read_forked(other.body) is None


# --- what is no message -------------------------------------------------------------------------

WHOLE: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "hello": (
        talks.write_greeting(talks.Greeting(Hello(HUB, "1", "2"), (BEGINNING,), Scope("a", "b"))),
        talks.read_greeting,
    ),
    "reception": (
        talks.write_reception(talks.Reception(Welcome(HUB, "1", 2, 3), BEGINNING)),
        talks.read_reception,
    ),
    "offers": (
        b"".join(
            talks.write_offers(
                [
                    Offer(
                        StoredRecord(
                            1,
                            1,
                            "i",
                            "s",
                            "t",
                            1,
                            "r",
                            "o",
                            "c",
                            None,
                            "x",
                            "y",
                            0,
                            bytes(32),
                            "d",
                            "m",
                            bytes(32),
                            bytes(32),
                        ),
                        3,
                        bytes(32),
                    )
                ]
            )
        ),
        talks.read_offers,
    ),
    "append": (
        b'{"events":[{"stream":"s","type":"t","data":"{}","expect":3}],"relations":[["r","s"]]}',
        lambda body: talks.read_append(body, new_id=str, new_nonce=bytes),
    ),
    "read": (
        reads.write_read(
            reads.ReadText(Selection(streams=("a",), limit=4), Cursor(1, ("a", "b"), 2))
        ),
        reads.read_read,
    ),
    "status": (
        reads.write_status(reads.StatusText(Identity(HUB, "1", "2"), EMPTY, 5)),
        reads.read_status,
    ),
}
WRONG = [b"", b"null", b"7", b'"x"', b"[]", b"{}", b"\xff", b"{" * 9, b'{"a":1,"a":2}', b"[NaN]"]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("body", WRONG)
def test_what_is_no_message_is_refused_by_one_error(name: str, body: bytes) -> None:
    _, read = WHOLE[name]
    if name == "offers":
        body += b"\n" if body else b"{}"
    with pytest.raises(InvalidMessage):
        read(body)


@pytest.mark.parametrize("name", WHOLE)
def test_a_message_that_was_changed_anywhere_is_read_or_refused_and_nothing_else(
    name: str, rng: random.Random
) -> None:
    whole, read = WHOLE[name]
    read(whole)
    refused = 0
    for _ in range(2_000):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randint(0, 3)] = rng.choice(
                [
                    b"",
                    b"null",
                    b"-1",
                    b'"',
                    b"{",
                    b"]",
                    b"\\ud800",
                    b"\xff",
                    b"1e999",
                    b"[[",
                    b"9" * 5_000,
                ]
            )
        try:
            read(bytes(changed))
        except (InvalidMessage, everlog.errors.NotPortable):
            refused += 1
    assert refused > 500


def test_half_of_a_surrogate_pair_is_refused_and_a_whole_one_is_not() -> None:
    with pytest.raises(InvalidMessage):
        read_object(b'{"a":"\\ud83d"}')
    assert read_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_a_line_over_its_limit_is_not_looked_at() -> None:
    with pytest.raises(InvalidMessage, match="the limit is 100"):
        read_object(b'{"a":"' + b"x" * 100 + b'"}', limit=100)


@pytest.mark.parametrize("bit", [b"x" * 100, b"data: " + b"x" * 30 + b"\n"])
def test_events_that_are_too_long_are_cut_off(bit: bytes) -> None:
    reader = pieces.EventReader(limit=1_000)
    for _ in range(9):
        assert reader.feed(bit) == []
    with pytest.raises(InvalidMessage):
        reader.feed(bit * 100)
