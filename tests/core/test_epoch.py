"""Epochs: which of two is the later one."""

from __future__ import annotations

import pytest

from everlog.core.epoch import epoch_at, is_older

NOW_MS = 1_800_000_000_000
RANDOM = "f3a1c2d4e5f60718"
"""As ledgers had it that were made before epochs had an order."""


def test_one_that_begins_later_is_later_whatever_chance_says() -> None:
    first = epoch_at(NOW_MS, b"\xff\xff")
    later = epoch_at(NOW_MS + 1, b"\x00\x00")
    assert (len(first), len(later)) == (16, 16)
    assert is_older(first, than=later)
    assert not is_older(later, than=first)
    assert not is_older(first, than=first)


@pytest.mark.parametrize("behind_ms", [0, 1, 3_600_000])
def test_one_that_follows_another_is_later_whatever_the_clock_says(behind_ms: int) -> None:
    first = epoch_at(NOW_MS, b"\xff\xff")
    assert is_older(first, than=epoch_at(NOW_MS - behind_ms, b"\x00\x00", after=first))


def test_one_without_a_time_is_older_than_any_that_has_one_and_not_than_another() -> None:
    timed = epoch_at(NOW_MS, b"\x00\x00", after=RANDOM)
    assert timed.startswith(f"{NOW_MS:012x}")
    assert is_older(RANDOM, than=timed)
    assert not is_older(timed, than=RANDOM)
    assert not is_older(RANDOM, than="a" * 16)
    assert not is_older("a" * 16, than=RANDOM)
