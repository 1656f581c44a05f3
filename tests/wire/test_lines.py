"""The quick readings of lines take nothing that JSON in general refuses, or reads otherwise."""

from __future__ import annotations

import random
import sys
import tracemalloc
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core.record import StoredRecord
from everlog.core.taking import BEGINNING, Mark
from everlog.errors import InvalidMessage
from everlog.wire import pieces, talks
from everlog.wire import records as reading
from everlog.wire.json_text import read_object
from everlog.wire.messages import Offer, Pulled
from everlog.wire.protocol import MAX_LINE_BYTES
from everlog.wire.records import offer_line, read_line, read_lines, read_offer
from tests.wire.recording import recordings
from tests.wire.test_round_trips import records

offers = st.builds(
    Offer,
    records,
    st.none() | st.integers(0, 2**63 - 1),
    st.none() | st.binary(min_size=32, max_size=32),
)


def in_general(line: bytes | str) -> Offer | None:
    """Returns what a line says, read by the way that takes every form; None if it is refused."""
    try:
        return read_offer(read_object(line))
    except InvalidMessage:
        return None


def all_at_once(*lines: bytes) -> list[Offer] | None:
    """Returns what lines say, read by the way that takes many; None if it does not."""
    many = read_lines(b"".join(lines))
    return None if many is None else [*map(Offer, *many)]


def whole() -> str:
    """A line in which everything is there."""
    record = StoredRecord(
        *(7, 3, "i", "s", "t", 1, "r", "o", "c", "a", "x", "y", 1),
        *(bytes(range(32)), '{"a":"\\\\n \u00fc"}', "null", bytes(32), bytes([255] * 32)),
    )
    return offer_line(Offer(record, 3, bytes([171] * 32))).decode()[:-1]


@given(offers)
def test_what_we_write_is_read_quickly_and_says_what_it_said(offer: Offer) -> None:
    line = offer_line(offer)[:-1]
    assert in_general(line) == offer
    quick = read_line(line)
    record = offer.record
    names = [record.id, record.stream, record.type, record.register, record.origin]
    names += [record.correlation, record.causation or "", record.created, record.recorded]
    if b"\\u" in line or any(char in '"\\\b\f\n\r\t' for name in names for char in name):
        assert quick in (None, offer)
    else:
        assert quick == offer
        assert read_line(line.decode()) == offer


@given(st.lists(offers, max_size=4))
def test_what_we_write_is_read_all_at_once_and_says_what_it_said(some: list[Offer]) -> None:
    lines = [offer_line(offer) for offer in some]
    # Only of what is escaped by number two writers may differ.
    assert all_at_once(*lines) in ([some] if b"\\u" not in b"".join(lines) else [None, some])


def test_every_recorded_line_of_a_hub_is_read_quickly() -> None:
    count = 0
    for recording in recordings().values():
        for step in recording["steps"]:
            for line in step.get("response", {}).get("body", ()):
                if line.startswith('{"record":'):
                    count += 1
                    expected = in_general(line)
                    assert expected is not None
                    assert read_line(line[:-1]) == expected
                    assert all_at_once(line.encode()) == [expected]
    assert count > 20


CHANGES = {
    "a key twice": ('"position":7', '"position":7,"position":8'),
    "a key twice inside": ('"id":"i"', '"id":"j","id":"i"'),
    "an escaped name": ('"id":"i"', '"id":"\\u0069"'),
    "half of a surrogate pair": ('"id":"i"', '"id":"\\ud800"'),
    "half of one in data": ('"data":"', '"data":"\\ud83d'),
    "a control character": ('"id":"i"', '"id":"\x01"'),
    "a control character in data": ('"data":"', '"data":"\n'),
    "no escape": ('"data":"', '"data":"\\x'),
    "a leading zero": ('"position":7', '"position":07'),
    "a sign": ('"position":7', '"position":-7'),
    "a fraction": ('"position":7', '"position":7.0'),
    "digits of another script": ('"position":7', '"position":\u0667'),
    "a flag": ('"position":7', '"position":true'),
    "a position that no ledger has": ('"position":7', f'"position":{2**63}'),
    "a version that no ledger has": ('"version":3,', f'"version":{2**63},'),
    "a hub's version that no ledger has": ('"hub_version":3', f'"hub_version":{2**63}'),
    "the greatest position": ('"position":7', f'"position":{2**63 - 1}'),
    "no schema": ('"schema":1', '"schema":0'),
    "a schema that is none": ('"schema":1', f'"schema":{2**63}'),
    "too many flags": ('"flags":1', '"flags":256'),
    "all flags": ('"flags":1', '"flags":255'),
    "capital letters": ('"chain":"ff', '"chain":"FF'),
    "a hash that is short": ('"chain":"ff', '"chain":"'),
    "a space in hex": ('"chain":"ff', '"chain":" f'),
    "a receipt that is short": ('"receipt":"abab', '"receipt":"ab'),
    "a receipt that is null": (f'"receipt":"{"ab" * 32}"', '"receipt":null'),
    "no cause": ('"causation":"a"', '"causation":null'),
    "no data": (',"meta":"null"', ""),
    "a space": ('"position":7', '"position": 7'),
    "another order": ('"position":7,"version":3', '"version":3,"position":7'),
    "something more": ('"position":7', '"more":[],"position":7'),
}


SAID_AS_WE_SAY_IT = {"the greatest position", "all flags", "no cause"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_line_that_was_changed_is_read_as_it_is_in_general(change: str) -> None:
    old, new = CHANGES[change]
    assert whole().count(old) == 1
    line = whole().replace(old, new)
    expected = in_general(line)
    for form in (line, line.encode("utf-8", "surrogatepass")):
        quick = read_line(form)
        assert quick is None or quick == expected
    changed = line.encode("utf-8", "surrogatepass") + b"\n"
    right = whole().encode() + b"\n"
    many = all_at_once(right, changed, right)
    before = in_general(whole())
    assert many is None or many == [before, expected, before]
    assert (many is None) == (change not in SAID_AS_WE_SAY_IT)


@pytest.mark.parametrize("end", ["\n", " ", "\r", "\0", "}", ",", "\ufeff"])
def test_what_stands_before_or_behind_is_not_passed_over(end: str) -> None:
    assert read_line(whole()) is not None
    assert read_line(whole() + end) is None
    assert read_line(end + whole()) is None
    line = whole().encode() + b"\n"
    assert all_at_once(line, line) == [in_general(whole())] * 2
    for text in (line[:-1] + end.encode() + b"\n", end.encode() + line, line + end.encode()):
        assert all_at_once(line, text, line) is None
    assert all_at_once(line[:-1]) is None
    assert all_at_once(line[:-1], line) is None


def test_a_line_that_is_too_long_or_no_text_is_not_read_quickly() -> None:
    line = whole().replace('"data":"', '"data":"' + "x" * MAX_LINE_BYTES)
    assert read_line(line) is None
    assert all_at_once(line.encode() + b"\n") is None
    with pytest.raises(InvalidMessage, match="limit"):
        read_object(line)
    assert all_at_once(whole().encode().replace("\u00fc".encode(), b"\xfc") + b"\n") is None
    assert read_line(whole().encode().replace("\u00fc".encode(), b"\xfc")) is None


def test_a_line_that_was_changed_anywhere_is_never_read_otherwise(rng: random.Random) -> None:
    bits = [
        *(b"", b'"', b"\\", b"\\\\", b'\\"', b",", b":", b"{", b"}", b"null", b"0", b"9" * 20),
        *(b"\\ud800", b"\xff", b"\n", b"\x1f", b"A", b" "),
    ]
    line, both, both_at_once = whole().encode(), 0, 0
    for _ in range(20_000):
        changed = bytearray(line)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randint(0, 2)] = rng.choice(bits)
        quick = read_line(bytes(changed))
        if quick is not None:
            both += 1
            assert quick == in_general(bytes(changed)), bytes(changed)
        at_once = all_at_once(bytes(changed) + b"\n")
        if at_once is not None:
            both_at_once += 1
            assert at_once == [in_general(bytes(changed))], bytes(changed)
    assert both > 100
    assert both_at_once > 100


def test_a_line_full_of_escapes_takes_no_more_memory_than_json_in_general() -> None:
    long = whole().replace('"data":"', '"data":"' + '\\"' * 500_000)
    tracemalloc.start()
    try:
        assert read_line(long) is not None
        quick = tracemalloc.get_traced_memory()[1]
        assert read_line(long[:-1]) is None
        assert read_line(long.replace('"meta"', '"mete"')) is None
        tracemalloc.reset_peak()
        assert in_general(long) is not None
        assert quick <= tracemalloc.get_traced_memory()[1] + len(long)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("there", [None, ModuleType("msgspec")], ids=["missing", "too old"])
def test_without_a_msgspec_of_use_nothing_is_read_at_once(
    there: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", there)
    monkeypatch.delitem(sys.modules, "everlog.wire.many_lines", raising=False)
    monkeypatch.setattr(reading, "_by_msgspec", vars(reading)["_by_msgspec"].__wrapped__)
    assert all_at_once(whole().encode() + b"\n") is None
    assert talks.read_offers(whole().encode() + b"\n") == [in_general(whole())]


@pytest.mark.parametrize("installed", [True, False], ids=["with msgspec", "without"])
def test_a_piece_is_read_alike_with_msgspec_and_without(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setattr(reading, "_by_msgspec", lambda: None)
    record = read_line(whole())
    assert record is not None
    first, _, last = pieces.piece_lines(
        Pulled("e", BEGINNING, (record.record,), (), Mark(7, bytes(32)), True), "hub"
    )
    line = whole().encode() + b"\n"
    read = pieces.read_piece(first + line * 3 + last)
    assert read.records == (record.record,) * 3
    assert read.receipts == (record.receipt,) * 3
    assert talks.read_offers(line * 3) == [record] * 3
    spaced = line.replace(b'"position":7', b'"position": 7')
    assert pieces.read_piece(first + line + spaced + last).records == (record.record,) * 2
    assert talks.read_offers(line + spaced) == [record] * 2
    for body, told in {
        first + line + b"\n" + line + last: "is not JSON",
        first + line * 3: "cut off",
        first + line * 3 + last[:-1]: "cut off",
        line * 3 + last: "of no piece",
        first + line + first + last: "before the last has ended",
        first + line + last + line + last: "goes on",
        first + line * 4 + last: "one record more than 3",
        first + line + line.replace(b'"position":7', b'"position":7,"position":8') + last: "twice",
    }.items():
        with pytest.raises(InvalidMessage, match=told):
            pieces.read_piece(body, most_records=3)
