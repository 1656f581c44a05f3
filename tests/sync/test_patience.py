"""How long a hub that asks to be left alone is left alone."""

from __future__ import annotations

import pytest

from everlog.errors import EverlogError, LedgerBusy, TooBusy, TransportFailed
from everlog.sync.patience import rest_s


@pytest.mark.parametrize(
    ("error", "expected_s"),
    [
        (None, 0.0),
        (LedgerBusy("busy"), 0.0),
        (TransportFailed("a proxy says 503", retry_after_s=7.0), 7.0),
        (TooBusy("the hub itself says so", retry_after_s=5.0), 5.0),
        (TooBusy("for thirty years", retry_after_s=1e9), 600.0),
    ],
)
def test_a_hub_that_asks_for_a_rest_gets_it_within_reason(
    error: EverlogError | None, expected_s: float
) -> None:
    assert rest_s(error) == expected_s
