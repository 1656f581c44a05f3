"""Stamps: what is created later sorts later, whatever the clocks of the machines do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core.stamp import (
    Clock,
    from_original,
    is_stamp,
    last_stamp_of,
    moment_bound,
    parse_stamp,
    receive,
    stamp_behind,
    stamp_time,
    stamps_after,
    tick,
    to_original,
)
from everlog.errors import ClockAhead, InvalidInput, InvalidStamp, NaiveDatetime

MAX_MS = 2**48 - 1
MAX_COUNTER = 2**16 - 1
NODE = "8f1e2d3c4b5a6978"
OTHER = "0000000000000001"
NOW = 1_769_817_600_000  # 2026-01-31T00:00:00Z

times = st.integers(0, MAX_MS) | st.integers(NOW - 5, NOW + 5)
counters = st.integers(0, MAX_COUNTER) | st.integers(MAX_COUNTER - 2, MAX_COUNTER)
nodes = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")
# Room is left for the clock to borrow milliseconds.
clocks = st.builds(Clock, times.filter(lambda ms: ms < MAX_MS - 1000), counters, nodes)
wall_clocks = st.integers(-(10**6), MAX_MS - 1000) | st.integers(NOW - 5, NOW + 5)


# --- a clock ------------------------------------------------------------------------------------


def test_a_stamp_is_milliseconds_then_counter_then_node_in_hex() -> None:
    assert Clock(NOW, 3, NODE).stamp == "019c11597000" + "0003" + NODE
    assert Clock(0, 0, OTHER).stamp == "0" * 31 + "1"
    assert Clock(MAX_MS, MAX_COUNTER, "f" * 16).stamp == "f" * 32


@given(clocks, st.lists(wall_clocks, min_size=1, max_size=50))
def test_each_stamp_is_later_than_all_before_however_the_wall_clock_jumps(
    clock: Clock, walls: list[int]
) -> None:
    stamps = [clock.stamp]
    for now_ms in walls:
        clock = tick(clock, now_ms=now_ms)
        stamps.append(clock.stamp)
    assert stamps == sorted(set(stamps))


@given(clocks, wall_clocks)
def test_a_tick_never_lags_behind_the_wall_clock_and_keeps_its_node(
    clock: Clock, now_ms: int
) -> None:
    ticked = tick(clock, now_ms=now_ms)
    assert ticked.ms >= max(now_ms, clock.ms)
    assert ticked.node == clock.node


def test_a_new_millisecond_begins_its_count_at_zero() -> None:
    assert tick(Clock(NOW, 77, NODE), now_ms=NOW + 1) == Clock(NOW + 1, 0, NODE)


def test_a_clock_that_stands_still_or_went_back_counts() -> None:
    assert tick(Clock(NOW, 77, NODE), now_ms=NOW) == Clock(NOW, 78, NODE)
    assert tick(Clock(NOW, 77, NODE), now_ms=NOW - 3_600_000) == Clock(NOW, 78, NODE)
    assert tick(Clock(NOW, 77, NODE), now_ms=-1) == Clock(NOW, 78, NODE)


def test_a_counter_that_is_used_up_borrows_the_next_millisecond() -> None:
    full = Clock(NOW, MAX_COUNTER, NODE)
    borrowed = tick(full, now_ms=NOW)
    assert borrowed == Clock(NOW + 1, 0, NODE)
    assert borrowed.stamp > full.stamp
    # The wall clock catches up: what was borrowed is not given twice.
    assert tick(borrowed, now_ms=NOW + 1) == Clock(NOW + 1, 1, NODE)


def test_the_end_of_time_is_an_error_and_not_a_stamp_of_another_length() -> None:
    with pytest.raises(InvalidStamp, match="1970 to 10889"):
        tick(Clock(MAX_MS, MAX_COUNTER, NODE), now_ms=NOW)
    with pytest.raises(InvalidStamp, match="1970 to 10889"):
        tick(Clock(NOW, 0, NODE), now_ms=MAX_MS + 1)


@pytest.mark.parametrize(
    ("ms", "counter", "node"),
    [
        pytest.param(-1, 0, NODE, id="before 1970"),
        pytest.param(MAX_MS + 1, 0, NODE, id="49 bits"),
        pytest.param(0, -1, NODE, id="negative counter"),
        pytest.param(0, MAX_COUNTER + 1, NODE, id="17 bits"),
        pytest.param(0, 0, "", id="no node"),
        pytest.param(0, 0, "8F1E2D3C4B5A6978", id="capitals"),
        pytest.param(0, 0, NODE + "\n", id="line end"),
        pytest.param(0, 0, "my-ledger-node-1", id="no hex"),
    ],
)
def test_a_clock_that_could_give_no_stamp_cannot_be_made(ms: int, counter: int, node: str) -> None:
    with pytest.raises(InvalidStamp):
        Clock(ms, counter, node)


def test_a_clock_is_a_value() -> None:
    clock = Clock(NOW, 0, NODE)
    with pytest.raises(FrozenInstanceError):
        clock.ms = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert clock == Clock(NOW, 0, NODE)
    assert hash(clock) == hash(Clock(NOW, 0, NODE))


# --- stamps from elsewhere ----------------------------------------------------------------------


@given(clocks, nodes, wall_clocks, st.integers(0, 200))
def test_many_stamps_at_once_are_those_of_as_many_ticks(
    before: Clock, node: str, now_ms: int, count: int
) -> None:
    clock = Clock(before.ms, before.counter, node)
    ticked: list[str] = []
    for _ in range(count):
        clock = tick(clock, now_ms=now_ms)
        ticked.append(clock.stamp)
    assert stamps_after(before.stamp, node=node, now_ms=now_ms, count=count) == ticked


def test_many_stamps_at_once_borrow_a_millisecond_from_a_used_up_counter() -> None:
    before = Clock(5, 2**16 - 2, "a" * 16).stamp
    stamps = stamps_after(before, node="b" * 16, now_ms=5, count=3)
    assert [parse_stamp(each)[:2] for each in stamps] == [(5, 2**16 - 1), (6, 0), (6, 1)]


def test_many_stamps_at_once_end_where_a_clock_ends() -> None:
    last = Clock(MAX_MS, 2**16 - 3, "a" * 16).stamp
    assert len(stamps_after(last, node="a" * 16, now_ms=0, count=2)) == 2
    with pytest.raises(InvalidStamp, match="a clock cannot stand at"):
        stamps_after(last, node="a" * 16, now_ms=0, count=3)
    with pytest.raises(InvalidStamp, match="a clock cannot stand at"):
        stamps_after("0" * 32, node="a" * 16, now_ms=2**48, count=1)


@given(clocks, clocks, wall_clocks)
def test_a_tick_after_a_foreign_stamp_is_later_than_both(
    clock: Clock, foreign: Clock, now_ms: int
) -> None:
    received = receive(clock, foreign.stamp, now_ms=now_ms, max_offset_ms=None)
    assert received.node == clock.node
    ticked = tick(received, now_ms=now_ms)
    assert ticked.stamp > foreign.stamp
    assert ticked.stamp > clock.stamp


@given(clocks, st.lists(st.tuples(st.none() | clocks, wall_clocks), max_size=30))
def test_given_and_received_stamps_in_any_mixture_are_passed(
    clock: Clock, events: list[tuple[Clock | None, int]]
) -> None:
    latest = clock.stamp
    for foreign, now_ms in events:
        if foreign is None:
            clock = tick(clock, now_ms=now_ms)
            assert clock.stamp > latest
            latest = clock.stamp
        else:
            clock = receive(clock, foreign.stamp, now_ms=now_ms, max_offset_ms=None)
            latest = max(latest, foreign.stamp)


@given(clocks, clocks, wall_clocks, st.none() | st.integers(0, 10**6))
def test_a_stamp_behind_a_foreign_one_is_that_of_a_clock_which_receives_it_and_ticks(
    clock: Clock, foreign: Clock, now_ms: int, most_ms: int | None
) -> None:
    def slowly() -> str:
        received = receive(clock, foreign.stamp, now_ms=now_ms, max_offset_ms=most_ms)
        return tick(received, now_ms=now_ms).stamp

    def quickly() -> str:
        return stamp_behind(
            clock.stamp, foreign.stamp, node=clock.node, now_ms=now_ms, max_offset_ms=most_ms
        )

    answers: list[tuple[str, int]] = []
    for way in (slowly, quickly):
        try:
            answers.append((way(), 0))
        except ClockAhead as error:
            answers.append((str(error), error.ahead_ms))
    assert answers[0] == answers[1]


def test_no_stamp_is_behind_what_is_none_or_behind_the_end_of_time() -> None:
    with pytest.raises(InvalidStamp, match="is no stamp"):
        stamp_behind("0" * 32, "no stamp", node=NODE, now_ms=NOW, max_offset_ms=None)
    with pytest.raises(InvalidStamp, match="a clock cannot stand at"):
        stamp_behind("0" * 32, "f" * 32, node=NODE, now_ms=NOW, max_offset_ms=None)


def test_a_foreign_stamp_at_the_very_limit_is_taken_and_one_millisecond_more_is_not() -> None:
    clock = Clock(NOW, 0, NODE)
    allowed = Clock(NOW + 60_000, 5, OTHER)
    assert receive(clock, allowed.stamp, now_ms=NOW) == Clock(NOW + 60_000, 5, NODE)
    ahead = Clock(NOW + 60_001, 0, OTHER)
    with pytest.raises(ClockAhead, match=ahead.stamp) as caught:
        receive(clock, ahead.stamp, now_ms=NOW)
    assert (caught.value.ahead_ms, caught.value.max_offset_ms) == (60_001, 60_000)


def test_how_far_ahead_is_judged_by_the_wall_clock_and_not_by_the_clock_that_receives() -> None:
    fast = Clock(NOW + 3_600_000, 0, NODE)
    with pytest.raises(ClockAhead):
        receive(fast, Clock(NOW + 1_800_000, 0, OTHER).stamp, now_ms=NOW)


def test_reading_takes_any_stamp_without_a_limit() -> None:
    assert receive(
        Clock(NOW, 0, NODE), "f" * 32, now_ms=NOW, max_offset_ms=None
    ) == Clock(MAX_MS, MAX_COUNTER, NODE)  # fmt: skip


def test_an_older_foreign_stamp_leaves_the_clock_as_it_is() -> None:
    clock = Clock(NOW, 7, NODE)
    assert receive(clock, Clock(NOW, 6, "f" * 16).stamp, now_ms=NOW) is clock
    assert receive(clock, Clock(NOW, 7, "f" * 16).stamp, now_ms=NOW) is clock
    assert tick(clock, now_ms=NOW).stamp > Clock(NOW, 7, "f" * 16).stamp


@given(st.text(max_size=40))
def test_a_foreign_text_that_is_no_stamp_is_refused_even_without_a_limit(text: str) -> None:
    with pytest.raises(InvalidStamp):
        receive(Clock(NOW, 0, NODE), text, now_ms=NOW, max_offset_ms=None)


# --- stamps as text -----------------------------------------------------------------------------

parts = st.tuples(times, counters, nodes)


@given(parts, parts)
def test_the_order_of_the_text_is_the_order_of_time(
    one: tuple[int, int, str], two: tuple[int, int, str]
) -> None:
    assert (Clock(*one).stamp < Clock(*two).stamp) == (one < two)


@given(parts)
def test_a_stamp_parses_into_what_it_was_made_of(made_of: tuple[int, int, str]) -> None:
    stamp = Clock(*made_of).stamp
    assert is_stamp(stamp)
    assert parse_stamp(stamp) == made_of
    assert Clock(*parse_stamp(stamp)).stamp == stamp


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "it has 0 characters", id="empty"),
        pytest.param("0" * 31, "it has 31 characters", id="short"),
        pytest.param("0" * 33, "it has 33 characters", id="long"),
        pytest.param("0" * 32 + "\n", "it has 33 characters", id="line end"),
        pytest.param("0" * 31 + "\n", "character 32 is '\\n'", id="line end inside"),
        pytest.param("A" * 32, "it has capital letters", id="capitals"),
        pytest.param("0" * 10 + "_" + "0" * 21, "character 11 is '_'", id="underscore"),
        pytest.param("+" + "0" * 31, "character 1 is '+'", id="sign"),
        pytest.param("٣" * 32, "character 1 is '\\u0663'", id="Arabic digits"),
        pytest.param("mkdsn5a8-00003", "which from_original() converts", id="original"),
        pytest.param(None, "it is of type NoneType", id="None"),
        pytest.param(b"0" * 32, "it is of type bytes", id="bytes"),
        pytest.param("\ud800" * 32, "character 1 is '\\ud800'", id="surrogates"),
    ],
)
def test_what_is_no_stamp_is_refused_with_the_reason_and_the_expected_form(
    text: Any, reason: str
) -> None:
    assert not is_stamp(text)
    with pytest.raises(InvalidStamp) as caught:
        parse_stamp(text)
    assert reason in str(caught.value)
    assert "expected 32 lower-case hex characters" in str(caught.value)


# --- stamps and moments -------------------------------------------------------------------------

zones = st.sampled_from([UTC, timezone(timedelta(hours=5.75)), timezone(-timedelta(hours=12))])
moments = st.datetimes(datetime(1970, 1, 2), timezones=zones)  # noqa: DTZ001 (the zones are drawn)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_the_time_of_a_stamp_is_aware_and_in_utc() -> None:
    moment = stamp_time(Clock(NOW + 123, 9, NODE).stamp)
    assert moment == datetime(2026, 1, 31, 0, 0, 0, 123_000, tzinfo=UTC)
    assert moment.tzinfo is UTC


def test_a_stamp_after_the_year_9999_has_no_datetime_and_says_so() -> None:
    last = last_stamp_of(datetime.max.replace(tzinfo=UTC))
    assert stamp_time(last) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    with pytest.raises(InvalidStamp, match="after the year 9999"):
        stamp_time("f" * 32)


@given(moments)
def test_the_time_of_the_last_stamp_of_a_moment_is_its_millisecond(moment: datetime) -> None:
    assert timedelta() <= moment - stamp_time(last_stamp_of(moment)) < timedelta(milliseconds=1)


@given(moments, parts)
def test_a_moment_bounds_exactly_the_stamps_of_its_millisecond_and_before(
    moment: datetime, made_of: tuple[int, int, str]
) -> None:
    millisecond = (moment - EPOCH) // timedelta(milliseconds=1)
    bound = last_stamp_of(moment)
    assert (Clock(*made_of).stamp <= bound) == (made_of[0] <= millisecond)
    assert Clock(millisecond, *made_of[1:]).stamp <= bound


@given(moments, moments)
def test_a_later_moment_never_has_an_earlier_bound(one: datetime, two: datetime) -> None:
    assert last_stamp_of(min(one, two)) <= last_stamp_of(max(one, two))


class NoOffset(tzinfo):
    """A time zone that does not know its own offset: its datetimes are naive all the same."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> str:
        return "unknown"


@pytest.mark.parametrize(
    "naive",
    [
        pytest.param(datetime(2026, 1, 31), id="no zone"),  # noqa: DTZ001 (that is the point)
        pytest.param(datetime(2026, 1, 31, tzinfo=NoOffset()), id="zone without an offset"),
    ],
)
def test_a_datetime_without_a_zone_is_refused(naive: datetime) -> None:
    with pytest.raises(NaiveDatetime):
        last_stamp_of(naive)
    with pytest.raises(NaiveDatetime, match="as_of is a datetime without a time zone"):
        moment_bound(naive, where="as_of")


def test_the_first_moment_of_1970_has_a_stamp_and_the_one_before_has_none() -> None:
    assert last_stamp_of(EPOCH) == "0" * 12 + "f" * 20
    with pytest.raises(InvalidStamp, match="as_of is 1969-12-31T23:59:59"):
        moment_bound(EPOCH - timedelta(microseconds=1), where="as_of")
    with pytest.raises(InvalidStamp, match="begin with the year 1970"):
        last_stamp_of(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))


def test_the_last_datetime_there_is_has_a_stamp_in_every_zone() -> None:
    west = datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))
    assert is_stamp(last_stamp_of(west))


def test_a_bound_is_a_stamp_itself_or_the_last_of_a_moment() -> None:
    stamp = Clock(NOW, 3, NODE).stamp
    assert moment_bound(stamp, where="as_of") == stamp
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    assert moment_bound(moment, where="as_of") == "019c11597000" + "f" * 20


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("2026-01-31", id="ISO text"),
        pytest.param("mkdsn5a8-00003", id="original stamp"),
        pytest.param(date(2026, 1, 31), id="date"),
        pytest.param(NOW, id="milliseconds"),
        pytest.param(None, id="None"),
    ],
)
def test_a_bound_that_is_neither_says_where_and_what_was_expected(wrong: Any) -> None:
    with pytest.raises(InvalidStamp, match=r"before is .*; expected a datetime with a time zone"):
        moment_bound(wrong, where="before")


# --- the original library's stamps --------------------------------------------------------------


def test_an_original_stamp_is_milliseconds_in_base_36_and_a_decimal_counter() -> None:
    assert parse_stamp(from_original("mkdsn5a8-00003", node=NODE)) == (
        int("mkdsn5a8", 36),
        3,
        NODE,
    )
    assert (
        to_original(Clock(NOW, 65535, NODE).stamp) == "ml1jpc00-65535"
    )  # (1769817600000).toString(36)
    assert to_original(Clock(0, 0, NODE).stamp) == "0-00000"


@given(parts)
def test_a_stamp_survives_the_way_to_the_original_form_and_back(
    made_of: tuple[int, int, str],
) -> None:
    stamp = Clock(*made_of).stamp
    original = to_original(stamp)
    assert from_original(original, node=made_of[2]) == stamp
    assert to_original(from_original(original, node=NODE)) == original


@given(parts, parts)
def test_original_stamps_keep_their_order_when_they_become_ours(
    one: tuple[int, int, str], two: tuple[int, int, str]
) -> None:
    ours = [from_original(to_original(Clock(*made_of).stamp), node=NODE) for made_of in (one, two)]
    assert (ours[0] < ours[1]) == (one[:2] < two[:2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "no stamp of the original", id="empty"),
        pytest.param("mkdsn5a8", "no stamp of the original", id="no counter"),
        pytest.param("mkdsn5a8-3", "no stamp of the original", id="counter not padded"),
        pytest.param("mkdsn5a8-000003", "no stamp of the original", id="counter of 6 digits"),
        pytest.param("MKDSN5A8-00003", "no stamp of the original", id="capitals"),
        pytest.param("0kdsn5a8-00003", "no stamp of the original", id="leading zero"),
        pytest.param("mkdsn5a8-00003\n", "no stamp of the original", id="line end"),
        pytest.param("-kdsn5a8-00003", "no stamp of the original", id="negative"),
        pytest.param("0" * 32, "no stamp of the original", id="one of ours"),
        pytest.param(None, "no stamp of the original", id="None"),
        pytest.param("mkdsn5a8-65536", "counters up to 65535", id="counter of 17 bits"),
        pytest.param("2rrvthnxts-00000", "does not fit", id="time of 49 bits"),
    ],
)
def test_what_is_no_original_stamp_or_does_not_fit_is_refused(text: Any, reason: str) -> None:
    with pytest.raises(InvalidStamp, match=reason):
        from_original(text, node=NODE)


def test_the_latest_original_time_that_fits_is_the_last_of_48_bits() -> None:
    assert parse_stamp(from_original("2rrvthnxtr-65535", node=NODE))[:2] == (MAX_MS, MAX_COUNTER)


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-zA-Z]{0,12}-[0-9]{0,6}"))
def test_text_of_any_kind_raises_nothing_but_invalid_input(text: str) -> None:
    with suppress(InvalidInput):
        parse_stamp(text)
    with suppress(InvalidInput):
        stamp_time(text)
    with suppress(InvalidInput):
        to_original(text)
    with suppress(InvalidInput):
        from_original(text, node=NODE)
    with suppress(InvalidInput):
        moment_bound(text, where="as_of")
