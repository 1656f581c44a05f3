"""Writes `vectors.json`: byte-exact examples of everything that another implementation must match.

Run it from the project's folder: `python -m tests.core.make_vectors`. It draws nothing at random
and reads no clock, so the file changes only with the format; `test_vectors.py` recomputes it all
without everlog.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from everlog.core.chain import FORMAT, GENESIS, HYDRATED, OUTDATED, commit_to, envelope, hash_of
from everlog.core.portable import canonical, parse
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.sequencer import EMPTY, Append, Identity, Import, NewEvent, Sequencer
from everlog.core.stamp import Clock, from_original, receive, tick, to_original

FILE = Path(__file__).with_name("vectors.json")

NODE = "8f1e2d3c4b5a6978"
NOW = 1_769_817_600_000  # 2026-01-31T00:00:00Z
MAX_COUNTER = 2**16 - 1


def vectors() -> dict[str, Any]:
    """Returns what the file holds."""
    return {
        "about": "Byte-exact vectors of everlog's format 1; see src/everlog/core/chain.py and "
        "stamp.py for the rules. Bytes are lower-case hex, texts are UTF-8.",
        "canonical": canonicals(),
        "refused": REFUSED,
        "commitments": commitments(),
        "envelopes": envelopes(),
        "chain": chain(),
        "stamps": stamps(),
    }


def text() -> str:
    """Returns the file as text."""
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


# --- canonical JSON -----------------------------------------------------------------------------

CANONICAL = {
    "null": "null",
    "empty object and list": ' { "b" : [ ] , "a" : { } } ',
    "RFC 8785, section 3.2.2": r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }""",
    "RFC 8785, section 3.2.3: keys sort by UTF-16 code units": r"""{
      "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }""",
    "RFC 8785, appendix B: numbers": "["
    "0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, "
    "9007199254740991, -9007199254740991, 295147905179352830000.0, 9.999999999999997e22, 1e23, "
    "1.0000000000000001e23, 999999999999999700000.0, 999999999999999900000.0, 1e21, "
    "9.999999999999997e-7, 0.000001, 333333333.3333332, 333333333.33333325, 333333333.3333333, "
    "333333333.3333334, 333333333.33333343, -0.0000033333333333333333, 1424953923781206.2]",
    "a whole double loses its point": '{"price":1.0,"rate":1e2}',
    "escapes: the short ones, \\u00xx for the rest, no others": r'"\b\t\n\f\r\"\\\/\u001f\u007f"',
    "no normalisation: composed and decomposed stay apart": r'["\u00e9","e\u0301"]',
    "capital letters before small ones, the empty key first": '{"b":1,"a":2,"B":3,"":4,"ab":5}',
}

REFUSED = [
    {"input": text, "why": why}
    for text, why in (
        ("NaN", "no number of JSON"),
        ("1e400", "not a finite double"),
        ("9007199254740993", "an integer that no double is"),
        ('{"a":1,"a":2}', "a key twice"),
        ('{"a":1,"\\u0061":2}', "a key twice, written differently"),
        ('"\\u0000"', "a NUL"),
        ('"\\ud800"', "a lone surrogate"),
        ("[" * 65 + "]" * 65, "deeper than 64"),
        ("[1,]", "a comma too many"),
        ("", "nothing at all"),
    )
]


def canonicals() -> list[dict[str, str]]:
    return [
        {"name": name, "input": source, "canonical": canonical(parse(source))}
        for name, source in CANONICAL.items()
    ]


# --- commitments and envelopes ------------------------------------------------------------------

CONTENTS = (
    (bytes(32), "null", "null"),
    (bytes(range(32)), '{"email":"jane@doe.com"}', '{"auditor":"me"}'),
    (b"\xff" * 32, '"Zoë 😀 \\" \\\\"', "null"),
    (bytes(range(255, 223, -1)), '[1,2.5,1e+30,true,{"a":{"b":[]}}]', '{"from":"10.0.0.1"}'),
)

COMMITTED = commit_to(*CONTENTS[1])

ENVELOPES: dict[str, dict[str, Any]] = {
    "nothing caused it": {},
    "a cause": {"causation": "019c1159-7000-7000-8000-000000000000", "correlation": "request-1"},
    "another register and schema": {"register": "user:active", "schema": 12},
    "names beyond ASCII": {
        "id": "идентификатор",
        "stream": "käse-😀",
        "type": "utilisateur:créé",
        "register": "名前",
        "correlation": "e\u0301 is not \u00e9",
        "origin": "ø",
    },
    "quotes, backslashes, slashes, DEL is refused but \u2028 is not": {
        "id": 'a"b',
        "stream": "C:\\users\\jane",
        "type": "a/b",
        "causation": '\\"',
        "correlation": "line\u2028separator",
    },
}


def commitments() -> list[dict[str, str]]:
    return [
        {
            "nonce": nonce.hex(),
            "data": data,
            "meta": meta,
            "commitment": commit_to(nonce, data, meta),
        }
        for nonce, data, meta in CONTENTS
    ]


def envelopes() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    nonce, data, meta = CONTENTS[1]
    for name, different in ENVELOPES.items():
        fields: dict[str, Any] = {
            "id": "019c1159-7000-7abc-8def-0123456789ab",
            "stream": "user-1",
            "type": "user:created",
            "schema": 1,
            "register": "user:created",
            "origin": "00112233445566778899aabbccddeeff",
            "correlation": "019c1159-7000-7abc-8def-0123456789ab",
            "causation": None,
            "created": Clock(NOW, 3, NODE).stamp,
            **different,
        }
        made.append(
            {
                "name": name,
                "format": FORMAT,
                **fields,
                "commitment": COMMITTED,
                "canonical": envelope(**fields, commitment=COMMITTED).decode(),
                "hash": hash_of(**fields, nonce=nonce, data=data, meta=meta).hex(),
            }
        )
    return made


# --- a ledger -----------------------------------------------------------------------------------

IDENTITY = Identity(ledger="00112233445566778899aabbccddeeff", node=NODE, epoch="0123456789abcdef")


def chain() -> dict[str, Any]:
    """A ledger of six records: born here, imported, imported late, and one after those."""
    elsewhere = "f" * 32
    sequencer = Sequencer(
        EMPTY, IDENTITY, now_ms=NOW, known={}, versions={}, newest=lambda stream, register: None
    )
    sequencer.place(
        Append(
            (
                _new(1, "user-1", "user:created", '{"email":"jane@doe.com"}'),
                _new(2, "user-2", "user:created", '{"email":"zoë@doe.com"}'),
                _new(3, "user-1", "user:email-set", '"jane@example.org"', causation="event-1"),
            )
        )
    )
    sequencer.place(
        Import(
            (
                _foreign(4, "user-1", "user:email-set", NOW - 86_400_000, elsewhere),
                _foreign(5, "user-3", "user:created", NOW + 1_000, elsewhere),
            )
        )
    )
    sequencer.place(Append((_new(6, "user-1", "user:activated", "null"),)))
    return {
        "genesis": GENESIS.hex(),
        "flags": {"hydrated": HYDRATED, "outdated": OUTDATED},
        "ledger": {"origin": IDENTITY.ledger, "node": IDENTITY.node, "now_ms": NOW},
        "records": [
            {
                **row._asdict(),
                "nonce": row.nonce.hex(),
                "hash": row.hash.hex(),
                "chain": row.chain.hex(),
            }
            for row in sequencer.rows
        ],
    }


def _new(
    number: int, stream: str, type: str, data: str, *, causation: str | None = None
) -> NewEvent:
    return NewEvent(
        id=f"event-{number}",
        stream=stream,
        type=type,
        schema=1,
        register="user:active" if type == "user:activated" else type,
        data=data,
        meta='{"auditor":"me"}',
        correlation="event-1",
        causation=causation,
        nonce=bytes([number]) * 32,
    )


def _foreign(number: int, stream: str, type: str, ms: int, origin: str) -> StoredRecord:
    created = Clock(ms, 7, "0000000000000001").stamp
    record = StoredRecord(
        position=0,
        version=0,
        id=f"event-{number}",
        stream=stream,
        type=type,
        schema=2,
        register=type,
        origin=origin,
        correlation=f"event-{number}",
        causation=None,
        created=created,
        recorded=created,
        flags=0,
        nonce=bytes([number]) * 32,
        data='"late@example.org"',
        meta="null",
        hash=b"",
        chain=b"",
    )
    return record._replace(hash=computed_hash(record))


# --- stamps -------------------------------------------------------------------------------------

TICKS = (
    ("the wall clock is ahead: it counts from 0", Clock(NOW - 1, 9, NODE), NOW),
    ("the wall clock stands still: it counts", Clock(NOW, 9, NODE), NOW),
    ("the wall clock went back: it counts", Clock(NOW, 9, NODE), NOW - 3_600_000),
    ("the counter is used up: a millisecond is borrowed", Clock(NOW, MAX_COUNTER, NODE), NOW),
    ("and is not given back", Clock(NOW + 1, 0, NODE), NOW + 1),
    ("the beginning of time", Clock(0, 0, "0" * 16), 0),
    ("the end of time", Clock(2**48 - 1, MAX_COUNTER - 1, "f" * 16), NOW),
)

RECEIVED = (
    (
        "older than the clock: nothing changes",
        Clock(NOW, 9, NODE),
        Clock(NOW - 5, 1, "a" * 16),
        NOW,
    ),
    (
        "equal, from another node: nothing changes",
        Clock(NOW, 9, NODE),
        Clock(NOW, 9, "f" * 16),
        NOW,
    ),
    ("a greater counter", Clock(NOW, 9, NODE), Clock(NOW, 10, "0" * 16), NOW),
    ("a later millisecond", Clock(NOW, 9, NODE), Clock(NOW + 1, 0, "0" * 16), NOW),
    ("as far ahead as is allowed", Clock(NOW, 9, NODE), Clock(NOW + 60_000, 0, "0" * 16), NOW),
    ("a used-up counter", Clock(NOW, 9, NODE), Clock(NOW, MAX_COUNTER, "0" * 16), NOW),
)

ORIGINALS = ("0-00000", "1-00001", "mkdsn5a8-00003", "mkdsn5a8-65535", "2rrvthnxtr-00000")


def stamps() -> dict[str, Any]:
    return {
        "ticks": [
            {
                "name": name,
                "clock": _clock(clock),
                "now_ms": now_ms,
                "stamp": tick(clock, now_ms=now_ms).stamp,
            }
            for name, clock, now_ms in TICKS
        ],
        "received": [
            {
                "name": name,
                "clock": _clock(clock),
                "stamp": there.stamp,
                "now_ms": now_ms,
                "max_offset_ms": 60_000,
                "next": tick(receive(clock, there.stamp, now_ms=now_ms), now_ms=now_ms).stamp,
            }
            for name, clock, there, now_ms in RECEIVED
        ],
        "refused": [
            {
                "name": "a millisecond too far ahead",
                "stamp": Clock(NOW + 60_001, 0, "0" * 16).stamp,
                "now_ms": NOW,
                "max_offset_ms": 60_000,
            }
        ],
        "original": [
            {
                "original": original,
                "node": NODE,
                "stamp": from_original(original, node=NODE),
                "back": to_original(from_original(original, node=NODE)),
            }
            for original in ORIGINALS
        ],
    }


def _clock(clock: Clock) -> dict[str, Any]:
    return {"ms": clock.ms, "counter": clock.counter, "node": clock.node}


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE.name}: {len(text()):,} bytes")
