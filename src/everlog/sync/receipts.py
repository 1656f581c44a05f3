"""Receipts: proof that a hub once had an event, for a hub that has lost it.

A receipt is HMAC-SHA256 (RFC 2104) over the event's id and hash, by a secret of the hub's that is
kept outside of its database. With it any edge can give an event back, and none can write in
another's name.
"""

from __future__ import annotations

import hmac

from everlog.core.record import StoredRecord

SECRET_BYTES = 16
"""A secret has so many bytes at least."""

RECEIPT_BYTES = 32
"""And a receipt so many."""


def receipt_for(secret: bytes, record: StoredRecord) -> bytes:
    """Returns the 32 bytes of a receipt."""
    # An id holds no control characters, so nothing else reads the same.
    return hmac.digest(secret, record.id.encode() + b"\0" + record.hash, "sha256")


def holds(secret: bytes, record: StoredRecord, receipt: bytes | None) -> bool:
    """Whether a receipt is that of a record; takes the same time whatever is wrong with it."""
    return receipt is not None and hmac.compare_digest(receipt_for(secret, record), receipt)
