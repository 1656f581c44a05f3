"""Resume tokens: how far a reader has got, and in which history.

A position alone would not do. A server that lost its tail gives the same positions to other
records, and who went on behind a position would skip them. The chain at the position stands for
all that is at or below it, so a log that has the same chain there has the same history up to there.

As text a token is 92 characters of URL-safe base64, of: version (1 byte), ledger (16), epoch (8),
position (8, big-endian), chain (32), CRC-32 of all that (4). There is nothing secret in it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import NamedTuple

from everlog.core.chain import GENESIS, HASH_BYTES
from everlog.errors import InvalidToken, LogDiverged

VERSION = 1

_LEDGER_BYTES, _EPOCH_BYTES, _POSITION_BYTES = 16, 8, 8
_CONTENT_BYTES = 1 + _LEDGER_BYTES + _EPOCH_BYTES + _POSITION_BYTES + HASH_BYTES


class ResumeToken(NamedTuple):
    """A place in one history."""

    ledger: str
    epoch: str
    position: int
    """That of the last record that was read; 0 before the first."""
    chain: bytes
    """The chain there."""


def encode(token: ResumeToken) -> str:
    """Returns the token as text."""
    content = b"".join(
        (
            bytes([VERSION]),
            bytes.fromhex(token.ledger),
            bytes.fromhex(token.epoch),
            token.position.to_bytes(_POSITION_BYTES, "big"),
            token.chain,
        )
    )
    return base64.urlsafe_b64encode(content + _checksum(content)).decode()


def decode(text: str) -> ResumeToken:
    """Returns the token of a text; raises `InvalidToken` for what is none."""
    content = _checked(text)
    if content[0] != VERSION:
        raise InvalidToken(
            f"the resume token is of form {content[0]}, and this everlog reads form {VERSION}: it "
            "was made by a newer everlog; update this one"
        )
    if len(content) != _CONTENT_BYTES:
        raise _no_token(text)
    ledger, rest = content[1 : 1 + _LEDGER_BYTES], content[1 + _LEDGER_BYTES :]
    epoch, rest = rest[:_EPOCH_BYTES], rest[_EPOCH_BYTES:]
    return ResumeToken(
        ledger=ledger.hex(),
        epoch=epoch.hex(),
        position=int.from_bytes(rest[:_POSITION_BYTES], "big"),
        chain=rest[_POSITION_BYTES:],
    )


def require(
    token: ResumeToken, *, ledger: str, epoch: str, position: int, chain: bytes | None
) -> None:
    """Raises `LogDiverged` unless a log has the token's place.

    - `ledger`, `epoch`, `position`: what the log is, and the position of its last record
    - `chain`: that of its record at the token's position; None where it has no such record
    """
    if token.position == 0:
        chain = GENESIS
    if token.ledger != ledger:
        raise LogDiverged(token.position, "ledger")
    ended = token.position > position
    if not ended and token.chain == chain:
        return  # the chain stands for all up to there, in whichever epoch that was read
    if token.epoch != epoch:
        raise LogDiverged(token.position, "epoch")
    raise LogDiverged(token.position, "end" if ended else "chain")


def _checked(text: str) -> bytes:
    """Returns the bytes of a text whose checksum is right, without it."""
    try:
        # Only one text stands for the same bytes, so the alphabet is looked at first: the decoder
        # would take + and / as well.
        if not text.isascii() or "+" in text or "/" in text or "=" in text:
            raise _no_token(text)
        content = base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error:
        raise _no_token(text) from None
    content, checksum = content[:-4], content[-4:]
    if not content or checksum != _checksum(content):
        raise _no_token(text)
    return content


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _no_token(text: str) -> InvalidToken:
    shown = repr(text if len(text) <= 40 else text[:37] + "...")
    return InvalidToken(
        f"{shown} is no resume token, or has been cut off or changed on its way; pass what "
        "store.token(record) or store.info() gave, as it was, or a position as a number"
    )
