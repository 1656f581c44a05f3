"""The vectors that other implementers go by, recomputed by everlog and without it."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from everlog.core import chain
from everlog.core.portable import canonical, is_canonical, parse
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.stamp import Clock, from_original, receive, tick, to_original
from everlog.core.stream import check_name
from everlog.errors import ClockAhead, InvalidName, NotPortable
from tests.core import make_vectors

VECTORS: dict[str, Any] = json.loads(make_vectors.FILE.read_text(encoding="utf-8"))

ENVELOPE = (
    "format", "id", "stream", "type", "schema", "register", "origin", "correlation", "causation",
    "created",
)  # fmt: skip


# --- without everlog: the rules again, as a stranger would write them ----------------------------


def strangers_commitment(nonce: bytes, data: str, meta: str) -> str:
    content = rfc8785.dumps({"data": json.loads(data), "meta": json.loads(meta)})
    return hmac.new(nonce, content, hashlib.sha256).hexdigest()


def strangers_envelope(fields: dict[str, Any], commitment: str) -> bytes:
    return rfc8785.dumps({**{name: fields[name] for name in ENVELOPE}, "commitment": commitment})


def strangers_stamp(clock: dict[str, Any], now_ms: int) -> str:
    ms, counter = clock["ms"], clock["counter"]
    if now_ms > ms:
        ms, counter = now_ms, 0
    elif counter < 65535:
        counter += 1
    else:
        ms, counter = ms + 1, 0
    return format(ms, "012x") + format(counter, "04x") + str(clock["node"])


# --- the file -----------------------------------------------------------------------------------


def test_the_file_is_what_the_script_writes() -> None:
    assert make_vectors.FILE.read_text(encoding="utf-8") == make_vectors.text()


@pytest.mark.parametrize("case", VECTORS["canonical"], ids=lambda case: case["name"])
def test_canonical_json_is_that_of_rfc_8785(case: dict[str, Any]) -> None:
    assert canonical(parse(case["input"])) == case["canonical"]
    assert is_canonical(case["canonical"])
    assert rfc8785.dumps(json.loads(case["input"])).decode() == case["canonical"]


def test_the_canonical_forms_are_those_that_the_rfc_prints() -> None:
    printed = {case["name"]: case["canonical"] for case in VECTORS["canonical"]}
    assert printed["RFC 8785, section 3.2.2"].encode() == bytes.fromhex(
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b33333333"
        "33333333332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e6722"
        "3a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
    )
    [name] = [name for name in printed if "3.2.3" in name]
    assert list(json.loads(printed[name]).values()) == [
        "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign",
        "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh",
    ]  # fmt: skip


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_what_is_not_portable_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(NotPortable):
        parse(case["input"])
    with pytest.raises(NotPortable):
        is_canonical(case["input"])


@pytest.mark.parametrize("case", VECTORS["commitments"], ids=lambda case: case["data"])
def test_commitments_are_hmacs_of_the_canonical_content(case: dict[str, str]) -> None:
    nonce = bytes.fromhex(case["nonce"])
    assert len(nonce) == chain.NONCE_BYTES
    assert chain.commit_to(nonce, case["data"], case["meta"]) == case["commitment"]
    assert strangers_commitment(nonce, case["data"], case["meta"]) == case["commitment"]


@pytest.mark.parametrize("case", VECTORS["envelopes"], ids=lambda case: case["name"])
def test_envelopes_are_canonical_and_hashed_whole(case: dict[str, Any]) -> None:
    theirs = strangers_envelope(case, case["commitment"])
    ours = {name: case[name] for name in (*ENVELOPE[1:], "commitment")}
    assert chain.envelope(**ours) == theirs == case["canonical"].encode()
    assert hashlib.sha256(theirs).hexdigest() == case["hash"]
    assert is_canonical(case["canonical"])


def test_every_field_of_the_envelope_changes_its_hash() -> None:
    case = VECTORS["envelopes"][1]
    hashes = {case["hash"]}
    for name in ENVELOPE:
        changed = case[name] + 1 if isinstance(case[name], int) else case[name] + "x"
        altered = strangers_envelope({**case, name: changed}, case["commitment"])
        hashes.add(hashlib.sha256(altered).hexdigest())
    hashes.add(hashlib.sha256(strangers_envelope(case, "0" * 64)).hexdigest())
    assert len(hashes) == len(ENVELOPE) + 2


def recompute(ledger: dict[str, Any]) -> None:
    """Asserts a ledger's hashes, chain, versions, positions and flags."""
    link = bytes.fromhex(ledger["genesis"])
    assert link == hashlib.sha256(b"everlog:chain:1").digest()
    versions: dict[str, int] = {}
    newest: dict[tuple[str, str], tuple[str, str]] = {}
    recorded = ""
    for position, record in enumerate(ledger["records"], 1):
        nonce = bytes.fromhex(record["nonce"])
        commitment = strangers_commitment(nonce, record["data"], record["meta"])
        envelope = strangers_envelope({**record, "format": 1}, commitment)
        hashed = hashlib.sha256(envelope).digest()
        versions[record["stream"]] = versions.get(record["stream"], 0) + 1
        place = (record["created"], record["id"])
        written = (record["stream"], record["register"])
        outdated = newest.get(written, ("", "")) > place
        newest[written] = max(newest.get(written, place), place)
        hydrated = record["origin"] != ledger["ledger"]["origin"]
        flags = hydrated + 2 * outdated
        link = hashlib.sha256(
            link + hashed + versions[record["stream"]].to_bytes(8, "big") + bytes([flags])
        ).digest()
        assert (record["position"], record["version"]) == (position, versions[record["stream"]])
        assert record["flags"] == flags
        assert record["hash"] == hashed.hex()
        assert record["chain"] == link.hex()
        assert recorded < record["recorded"] >= record["created"]
        recorded = record["recorded"]


def test_a_whole_ledger_can_be_recomputed_without_everlog() -> None:
    recompute(VECTORS["chain"])
    flags = {record["flags"] for record in VECTORS["chain"]["records"]}
    assert flags == {0, 1, 3}, "born here, imported, imported late"


def test_everlog_computes_the_same_ledger() -> None:
    link = chain.GENESIS
    for fields in VECTORS["chain"]["records"]:
        coded: dict[str, Any] = {
            name: bytes.fromhex(fields[name]) for name in ("nonce", "hash", "chain")
        }
        record = StoredRecord(**{**fields, **coded})
        assert computed_hash(record) == record.hash
        link = chain.link(link, record.hash, version=record.version, flags=record.flags)
        assert link == record.chain


@pytest.mark.parametrize("field", [*ENVELOPE[1:], "nonce", "data", "meta", "version", "flags"])
def test_a_change_of_any_field_of_any_record_is_seen(field: str) -> None:
    for index in range(len(VECTORS["chain"]["records"])):
        ledger = json.loads(json.dumps(VECTORS["chain"]))
        record = ledger["records"][index]
        value = record[field]
        match value:
            case int():
                record[field] = value + 1
            case None:
                record[field] = "event-9"
            case _ if field == "nonce":
                record[field] = "00" + value[2:]
            case _ if field in ("data", "meta"):
                record[field] = "[]"
            case _:
                record[field] = value[:-1] + ("0" if value[-1] != "0" else "1")
        with pytest.raises(AssertionError):
            recompute(ledger)


@pytest.mark.parametrize("case", VECTORS["stamps"]["ticks"], ids=lambda case: case["name"])
def test_ticks_give_these_stamps(case: dict[str, Any]) -> None:
    clock = Clock(**case["clock"])
    assert tick(clock, now_ms=case["now_ms"]).stamp == case["stamp"]
    assert strangers_stamp(case["clock"], case["now_ms"]) == case["stamp"]
    assert clock.stamp < case["stamp"]


@pytest.mark.parametrize("case", VECTORS["stamps"]["received"], ids=lambda case: case["name"])
def test_the_next_stamp_is_later_than_what_was_received(case: dict[str, Any]) -> None:
    now_ms, there = case["now_ms"], case["stamp"]
    clock = receive(
        Clock(**case["clock"]), there, now_ms=now_ms, max_offset_ms=case["max_offset_ms"]
    )
    assert tick(clock, now_ms=now_ms).stamp == case["next"]
    ours = case["clock"]
    ahead = max((ours["ms"], ours["counter"]), (int(there[:12], 16), int(there[12:16], 16)))
    moved = {"ms": ahead[0], "counter": ahead[1], "node": ours["node"]}
    assert strangers_stamp(moved, now_ms) == case["next"]
    assert there < case["next"]


def test_a_stamp_too_far_ahead_is_refused() -> None:
    for case in VECTORS["stamps"]["refused"]:
        with pytest.raises(ClockAhead):
            receive(
                Clock(0, 0, "0" * 16),
                case["stamp"],
                now_ms=case["now_ms"],
                max_offset_ms=case["max_offset_ms"],
            )


@pytest.mark.parametrize("case", VECTORS["stamps"]["original"], ids=lambda case: case["original"])
def test_the_originals_stamps_are_read_and_written(case: dict[str, str]) -> None:
    assert from_original(case["original"], node=case["node"]) == case["stamp"]
    assert to_original(case["stamp"]) == case["back"] == case["original"]
    ms, counter = case["original"].split("-")
    assert case["stamp"] == format(int(ms, 36), "012x") + format(int(counter), "04x") + case["node"]


# --- and for all others -------------------------------------------------------------------------


def nameable(text: str) -> bool:
    try:
        check_name("name", text)
    except InvalidName:
        return False
    return True


names = (
    st.text(min_size=1, max_size=80)
    | st.text('"\\/\u2028\u2029\ufeff\u00ad\U0001f600é', min_size=1, max_size=20)
).filter(nameable)
stamps = st.integers(0, 2**128 - 1).map("{:032x}".format)


@given(
    id=names,
    stream=names,
    type=names,
    schema=st.integers(1, 2**53 - 1),
    register=names,
    origin=names,
    correlation=names,
    causation=st.none() | names,
    created=stamps,
    commitment=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_an_envelope_of_any_names_is_what_a_general_encoder_makes_of_it(**fields: Any) -> None:
    commitment = fields.pop("commitment")
    expected = strangers_envelope({**fields, "format": 1}, commitment)
    assert chain.envelope(**fields, commitment=commitment) == expected


def test_an_envelope_that_escapes_what_it_should_not_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain, "_quote", json.dumps)  # \u00e9 for é
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_an_envelope_of_any_names_is_what_a_general_encoder_makes_of_it()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary(min_size=32, max_size=32), json_values, json_values)
def test_a_commitment_to_any_content_is_what_a_stranger_computes(
    nonce: bytes, data: Any, meta: Any
) -> None:
    ours = chain.commit_to(nonce, canonical(data), canonical(meta))
    assert ours == strangers_commitment(nonce, json.dumps(data), json.dumps(meta))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_double_is_written_as_the_rfc_says(number: float) -> None:
    written = canonical(number)
    assert written == rfc8785.dumps(number).decode()
    assert math.isclose(float(written), number, rel_tol=0, abs_tol=0)
