"""Resume tokens as text: the same bytes everywhere, and nothing else is taken for one."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core.chain import GENESIS
from everlog.core.token import ResumeToken, decode, encode, require
from everlog.errors import InvalidToken, LogDiverged

TOKEN = ResumeToken(
    ledger="00112233445566778899aabbccddeeff",
    epoch="0123456789abcdef",
    position=258,
    chain=bytes(range(32)),
)
TEXT = (
    "AQARIjNEVWZ3iJmqu8zd7v8BI0VniavN7wAAAAAAAAECAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh-caRkV"
)
"""Written down once: who keeps a token today comes back with it tomorrow."""


def hexadecimal(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


tokens = st.builds(
    ResumeToken,
    ledger=hexadecimal(16),
    epoch=hexadecimal(8),
    position=st.integers(0, 2**63 - 1),
    chain=st.binary(min_size=32, max_size=32),
)


def sealed(content: bytes) -> str:
    """Returns what a token of other content would be, with a checksum that is right."""
    return base64.urlsafe_b64encode(content + zlib.crc32(content).to_bytes(4, "big")).decode()


def test_a_token_is_the_same_text_for_ever() -> None:
    assert encode(TOKEN) == TEXT
    assert decode(TEXT) == TOKEN


@given(token=tokens)
def test_a_token_comes_back_as_it_was(token: ResumeToken) -> None:
    text = encode(token)
    assert decode(text) == token
    assert len(text) == 92
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_token_with_any_character_changed_lost_or_added_is_refused() -> None:
    for at in range(len(TEXT)):
        for other in {"A", "B", "_", "-", "+", "/", "=", "é", "\n", " ", ""} - {TEXT[at]}:
            with pytest.raises(InvalidToken):
                decode(TEXT[:at] + other + TEXT[at + 1 :])
        with pytest.raises(InvalidToken):
            decode(TEXT[:at])
        with pytest.raises(InvalidToken):
            decode(TEXT[:at] + "A" + TEXT[at:])


@given(text=st.text() | st.text("AQ-_=", min_size=80, max_size=100))
def test_other_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken, match="is no resume token") as caught:
        decode(text)
    assert len(str(caught.value)) < 400


def test_what_a_newer_everlog_made_is_told_from_what_is_no_token() -> None:
    for size in (61, 64, 67):  # with the rest, whole groups of three bytes
        with pytest.raises(InvalidToken, match="newer everlog"):
            decode(sealed(b"\x02" + bytes(size)))
    for size in (61, 67):
        with pytest.raises(InvalidToken, match="is no resume token"):
            decode(sealed(b"\x01" + bytes(size)))


def test_a_log_has_the_place_or_is_another_one() -> None:
    def told(
        token: ResumeToken = TOKEN,
        *,
        ledger: str = TOKEN.ledger,
        epoch: str = TOKEN.epoch,
        position: int = 300,
        chain: bytes | None = TOKEN.chain,
    ) -> str:
        try:
            require(token, ledger=ledger, epoch=epoch, position=position, chain=chain)
        except LogDiverged as error:
            return error.differs
        return ""

    error = LogDiverged(258, "end")
    assert (error.position, error.differs) == (258, "end")
    assert "position 258" in str(error)
    assert told() == told(position=258) == ""
    assert told(ledger="f" * 32) == "ledger"
    assert told(epoch="f" * 16) == "", "the same history, read before the log was promoted"
    assert told(epoch="f" * 16, chain=bytes(32)) == "epoch"
    assert told(epoch="f" * 16, position=257, chain=None) == "epoch"
    assert told(position=257, chain=None) == "end"
    assert told(chain=bytes(32)) == told(chain=None) == "chain"
    beginning = TOKEN._replace(position=0, chain=GENESIS)
    assert told(beginning, chain=None, position=0) == told(beginning, chain=None) == ""
    assert told(beginning._replace(chain=bytes(32)), chain=None) == "chain"
    assert told(beginning, chain=None, ledger="f" * 32) == "ledger"
