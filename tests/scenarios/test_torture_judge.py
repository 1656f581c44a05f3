"""The judge of the gap torture goes red for each promise that is broken, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from everlog.core.record import StoredRecord
from everlog.testing.torture.events import ids_of
from everlog.testing.torture.following import line_of
from everlog.testing.torture.journal import Answered
from everlog.testing.torture.judging import Judge

START = 7
"""Where the ledger was before."""


def row(position: int, id: str, version: int, *, stream: str = "a") -> StoredRecord:
    call, number, of = id.rsplit(".", 2)
    data = {"call": call, "number": int(number), "of": int(of), "stream": stream}
    return StoredRecord(
        position=position,
        version=version,
        id=id,
        stream=stream,
        type="everlog-torture:hit",
        schema=1,
        register="everlog-torture:hit",
        origin="o",
        correlation="c",
        causation=None,
        created="",
        recorded="",
        flags=0,
        nonce=b"",
        data=json.dumps(data),
        meta="null",
        hash=b"",
        chain=bytes([position % 256]),
    )


# Two calls: one of an event, and one of two.
FIRST, SECOND = ids_of("r.0.0.1", 1), ids_of("r.0.0.2", 2)
ROWS = [row(8, FIRST[0], 1), row(9, SECOND[0], 2), row(10, SECOND[1], 1, stream="b")]
ANSWERS = [Answered("r.0.0.1", 1, 100, 200, [8]), Answered("r.0.0.2", 2, 150, 300, [9, 10])]


def judged(
    rows: Sequence[StoredRecord] = ROWS,
    *,
    answers: Sequence[Answered] = ANSWERS,
    refused: Sequence[str] = (),
    seen: Sequence[StoredRecord] | None = None,
    own: set[str] | None = None,
) -> Judge:
    """Returns a judge who has heard it all; a reader sees the table unless it is said what."""
    judge = Judge("r", START)
    for each in rows:
        judge.record(each)
    judge.calls()
    judge.answers(answers, refused)
    judge.reader("reader 0", [line_of(each) for each in (rows if seen is None else seen)])
    if own is not None:
        judge.together(own)
    return judge


def counts(judge: Judge) -> dict[str, int]:
    """Returns what is not 0."""
    all = {
        "lost": judge.lost,
        "twice": judge.twice,
        "inverted": judge.inverted,
        "gaps": judge.gaps,
    }
    return {name: count for name, count in all.items() if count}


def test_what_is_promised_is_found_right() -> None:
    judge = judged(refused=["r.0.0.3"])
    assert counts(judge) == {}
    assert judge.problems == ()
    assert (judge.events, judge.acknowledged) == (3, 3)


def test_what_was_never_acknowledged_may_be_there_once_or_not() -> None:
    assert judged(answers=[]).problems == ()
    assert judged(ROWS[:1], answers=ANSWERS[:1]).problems == ()


def test_an_acknowledged_call_that_is_not_there_is_lost() -> None:
    judge = judged(ROWS[:1])
    assert counts(judge) == {"lost": 2}
    assert f"{SECOND[0]} was acknowledged and is not stored" in judge.problems


def test_a_record_that_a_reader_passed_over_is_lost_though_it_is_there() -> None:
    judge = judged(seen=[ROWS[0], ROWS[2]])
    assert counts(judge) == {"lost": 1}
    assert judge.problems == (f"reader 0 passed over {SECOND[0]} at 9",)


def test_the_end_of_the_log_that_a_reader_did_not_see_is_lost() -> None:
    assert counts(judged(seen=ROWS[:2])) == {"lost": 1}


def test_a_record_that_is_lost_for_two_readers_is_one() -> None:
    judge = judged(seen=ROWS[:2])
    judge.reader("reader 1", [line_of(each) for each in ROWS[:2]])
    assert judge.lost == 1


def test_an_id_that_is_stored_twice_is_told() -> None:
    judge = judged([*ROWS, row(11, FIRST[0], 3)])
    assert counts(judge) == {"twice": 1}
    assert f"{FIRST[0]} is stored at 8 and at 11" in judge.problems


def test_a_record_that_came_to_a_reader_twice_is_told() -> None:
    judge = judged(seen=[*ROWS[:2], *ROWS[1:]])
    assert counts(judge) == {"twice": 1, "inverted": 1}
    assert f"reader 0 saw {SECOND[0]} twice" in judge.problems


def test_a_reader_that_goes_back_is_told() -> None:
    judge = judged(seen=[ROWS[0], ROWS[2], ROWS[1]])
    assert counts(judge) == {"inverted": 1}
    assert "reader 0 saw position 9 after 10" in judge.problems


def test_a_table_that_is_not_in_order_is_told() -> None:
    judge = judged([ROWS[1], ROWS[0], ROWS[2]])
    assert counts(judge)["inverted"] == 1
    assert "position 8 stands after 9" in judge.problems


def test_a_stream_that_goes_back_is_told() -> None:
    judge = judged([ROWS[0], row(9, SECOND[0], 1), ROWS[2]])
    assert counts(judge) == {"inverted": 1}
    assert judge.problems == ("a goes from version 1 to 1",)


def test_a_hole_in_the_positions_is_a_gap() -> None:
    judge = judged([ROWS[0], row(10, SECOND[0], 2), row(11, SECOND[1], 1, stream="b")], answers=[])
    assert counts(judge) == {"gaps": 1}
    assert judge.problems == ("nothing is stored between 8 and 10",)


def test_a_hole_before_the_first_position_is_a_gap() -> None:
    assert counts(judged(ROWS[1:], answers=[]))["gaps"] == 2  # a position and a version


def test_a_hole_in_the_versions_of_a_stream_is_a_gap() -> None:
    judge = judged([ROWS[0], row(9, SECOND[0], 4), ROWS[2]])
    assert counts(judge) == {"gaps": 2}
    assert judge.problems == ("a goes from version 1 to 4",)


@pytest.mark.parametrize(("begun", "inverted"), [(200, 0), (201, 1)])
def test_what_began_after_another_was_acknowledged_must_stand_behind_it(
    begun: int, inverted: int
) -> None:
    later, sooner = ids_of("r.0.0.2", 1), ids_of("r.1.0.1", 1)
    rows = [row(8, later[0], 1), row(9, sooner[0], 2)]
    answers = [
        Answered("r.0.0.2", 1, begun, 300, [8]),
        Answered("r.1.0.1", 1, 100, 200, [9]),
    ]
    judge = judged(rows, answers=answers)
    assert judge.inverted == inverted
    if inverted:
        assert judge.problems == (
            "r.0.0.2 began after r.1.0.1 had been acknowledged, and stands at 8, before 9",
        )


def test_of_many_calls_only_those_out_of_order_are_told() -> None:
    ids = [ids_of(f"r.0.0.{number}", 1)[0] for number in range(200)]
    rows = [row(8 + index, id, index + 1) for index, id in enumerate(ids)]
    answers = [
        Answered(id.rsplit(".", 2)[0], 1, 10 * index, 10 * index + 9, [8 + index])
        for index, id in enumerate(ids)
    ]
    assert judged(rows, answers=answers).inverted == 0
    answers[50] = answers[50]._replace(begun=1_000, ended=1_001)  # others behind it had ended
    assert judged(rows, answers=answers).inverted == 1


def test_a_part_of_a_call_is_told() -> None:
    rows = [ROWS[0], row(9, SECOND[1], 1, stream="b")]
    assert judged(rows, answers=[]).problems == ("1 of 2 events of r.0.0.2 are stored",)


def test_an_answer_that_names_other_positions_is_told() -> None:
    wrong = [ANSWERS[0]._replace(positions=[9])]
    assert judged(answers=wrong).problems == ("r.0.0.1 was told [9], but is at [8]",)


def test_a_call_that_was_refused_and_is_there_is_told() -> None:
    judge = judged(answers=[], refused=["r.0.0.2"])
    assert judge.problems == ("r.0.0.2 was refused, and is stored all the same",)


def test_content_that_was_written_under_another_id_is_told() -> None:
    rows = [ROWS[0]._replace(data=ROWS[1].data), *ROWS[1:]]
    assert judged(rows).problems == (f"{FIRST[0]} does not hold what was written under it",)


@pytest.mark.parametrize("id", ["x.0.0.1.0.1", "message-17"])
def test_a_record_of_somebody_else_is_told(id: str) -> None:
    judge = judged([*ROWS, ROWS[0]._replace(id=id, position=11, version=3)])
    assert judge.problems == (f"{id} at 11 is nobody's: does anyone else write here?",)


def test_what_a_reader_saw_and_is_not_there_is_told() -> None:
    judge = judged(ROWS[:1], answers=[], seen=ROWS[:2])
    assert judge.problems == (f"reader 0 saw {SECOND[0]}, which is not stored",)


@pytest.mark.parametrize("change", [{"chain": b"other"}, {"version": 3}, {"stream": "c"}])
def test_a_record_that_changed_since_a_reader_saw_it_is_told(change: dict[str, object]) -> None:
    judge = judged(seen=[ROWS[0], ROWS[1]._replace(**change), ROWS[2]])  # type: ignore[arg-type]
    assert judge.problems == (f"reader 0 saw {SECOND[0]} in another place, or with another chain",)


def test_a_users_transaction_of_which_only_a_half_is_there_is_told() -> None:
    mine = [row(8, ids_of("r.0.0.1-own", 1)[0], 1)]
    assert judged(mine, answers=[], own={"r.0.0.1-own"}).problems == ()
    assert judged(mine, answers=[], own=set()).problems == (
        "r.0.0.1-own is stored, the row of its transaction is not",
    )
    assert judged(ROWS, own={"r.0.0.1-own"}).problems == (
        "r.0.0.1-own is not stored, the row of its transaction is",
    )


def test_of_many_problems_of_a_kind_the_first_are_told_and_the_worst_kinds_first() -> None:
    ids = [ids_of(f"r.0.0.{number}", 1)[0] for number in range(30)]
    rows = [row(9 + 2 * index, id, index + 1) for index, id in enumerate(ids)]
    problems = judged(rows, seen=[], answers=[]).problems
    assert problems[0].startswith("reader 0 passed over")
    assert problems[5] == "... and 25 more of this kind"
    assert len(problems) == 12
