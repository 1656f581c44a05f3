"""Policies and slices: what is computed of a failure, and of a stream's name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from everlog import InvalidInput, retry
from everlog.subscriptions.policies import check_policy
from everlog.subscriptions.slices import slice_of


def test_pauses_grow_up_to_the_longest_and_chance_takes_half_at_most() -> None:
    policy = retry(10, first_s=1.0, factor=2.0, most_s=10.0)
    assert [policy.pause_s(tries, chance=1.0) for tries in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert policy.pause_s(3, chance=0.0) == 2.0
    assert policy.pause_s(10**9, chance=1.0) == 10.0


@pytest.mark.parametrize(
    ("policy", "pause_s"),
    [
        (retry(first_s=0.0), 0.0),
        (retry(first_s=5.0, factor=1.0), 5.0),
        (retry(first_s=90.0, most_s=60.0), 60.0),
        (retry(first_s=1.0, most_s=0.0), 0.0),
    ],
)
def test_a_pause_that_does_not_grow_is_the_same_for_ever(policy: retry, pause_s: float) -> None:
    for tries in (1, 2, 50, 10**9):
        assert policy.pause_s(tries, chance=1.0) == pause_s


@pytest.mark.parametrize(
    ("policy", "tries", "pause_s"),
    [
        (retry(first_s=5e-324, factor=1e200, most_s=1e9), 2, 5e-124),
        (retry(first_s=5e-324, factor=1e200, most_s=1e9), 3, 1e9),
        (retry(first_s=5e-324, factor=10, most_s=1e9), 10**9, 1e9),
        (retry(first_s=1e-300, factor=1e300, most_s=60.0), 2, 1.0),
        (retry(first_s=0.0, factor=1e300), 10**9, 0.0),
    ],
)
def test_a_pause_of_the_largest_and_the_smallest_numbers_is_told(
    policy: retry, tries: int, pause_s: float
) -> None:
    assert policy.pause_s(tries, chance=1.0) == pytest.approx(pause_s, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": 0},
        {"times": True},
        {"times": 1.5},
        {"first_s": -1},
        {"first_s": float("nan")},
        pytest.param({"first_s": 10**400}, id="more than a float can be"),
        {"first_s": 1e300},
        {"most_s": 1e10},
        {"factor": 0.5},
        {"factor": float("inf")},
        {"most_s": "long"},
        {"then": "ignore"},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        retry(**wrong)


def test_a_word_is_a_single_try() -> None:
    assert check_policy("skip") == retry(1, then="skip")
    assert check_policy(retry(7)) == retry(7)
    with pytest.raises(InvalidInput, match="on_error"):
        check_policy("ignore")


def test_a_stream_is_in_the_same_slice_for_ever_and_slices_are_even() -> None:
    # Fixed: what is stored under a slice must be found there by every later version.
    assert [slice_of(name, 16) for name in ("user-1", "user-2", "é", "")] == [4, 14, 14, 0]
    for slices in (2, 7, 16, 100):
        found = Counter(slice_of(f"user-{n}", slices) for n in range(20_000))
        assert set(found) == set(range(slices))
        assert max(found.values()) < 1.35 * 20_000 / slices
