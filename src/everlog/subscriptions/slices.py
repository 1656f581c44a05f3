"""Slices: the parts of a subscription, of which each stream belongs to one.

Workers share a subscription by slices, so the records of one stream are always handled by one
worker, in order.
"""

from __future__ import annotations

import zlib

MOST = 1024
"""Slices of a subscription, at most."""


def slice_of(stream: str, slices: int) -> int:
    """Returns which of so many slices a stream belongs to: the same for ever, on every machine."""
    if slices == 1:
        return 0
    # CRC-32 spreads evenly enough (a test says how evenly), and is the same everywhere.
    return zlib.crc32(stream.encode("utf-8", "surrogatepass")) % slices
