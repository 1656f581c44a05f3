"""Sealing: who has what a relation's scope is called can compare it, and learn nothing from it.

The hub's own words for such a scope hold how often the relation has changed, and a hash of all of
its streams. Whoever may read a part of them could try out names until the hash is the same.
"""

from __future__ import annotations

import hmac

from everlog.wire.messages import Scope


def sealed(secret: bytes | None, scope: Scope, words: str) -> str:
    """Returns what stands for the words of a scope outside, by the secret of the receipts.

    Without a secret there are no tokens, and nothing is kept from anybody.
    """
    if secret is None or scope.relation is None:
        return words
    # What a receipt is made of has a hash of 32 bytes behind the first zero; this has more there.
    return hmac.digest(secret, b"scope\0" + words.encode(), "sha256").hex()
