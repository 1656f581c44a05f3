"""Benchmarks run and get the right answers; how fast is not a test's business.

Here a few: `python3 dev.py bench --smoke`, which CI runs, asks all questions, and peers, too.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import psycopg
import pytest

from benchmarks import growth, postgres, report, saving
from benchmarks.databases import POSTGRES, SQLITE, Database, Files, Schemas
from benchmarks.floor.postgres_sides import AsyncSide as PostgresSide
from benchmarks.machine import look
from benchmarks.question import Asked, Question, Row, Size, Target
from benchmarks.questions import QUESTIONS
from benchmarks.running import Measured, Results, run, unanswered
from benchmarks.side import CannotDo, Seen
from benchmarks.sides import (
    BLOCKING_FLOOR,
    EVERLOG,
    EVERLOG_PYDANTIC,
    FLOOR,
    OURS,
    PEERS,
    installed,
)
from benchmarks.workload import sizes
from everlog.testing import PostgresServer

pytestmark = pytest.mark.once

TINY = Size(scale=0.01)
PEERS_HERE = [name for name in PEERS if installed(name)]
"""None where tests usually run; `python3 dev.py bench --smoke` runs them."""


@pytest.fixture(scope="module")
def schemas(durable_postgres: PostgresServer) -> Schemas:
    url = durable_postgres.new_database()
    return Schemas(url, postgres.settings_of(url))


@pytest.fixture(params=[SQLITE, POSTGRES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == SQLITE:
        return Files(tmp_path)
    found: Schemas = request.getfixturevalue("schemas")
    return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def ask(database: Database, *questions: Question, sides: list[str], rounds: int = 1) -> Results:
    return asyncio.run(
        run(database, questions, sides, rounds=rounds, size=TINY, say=lambda _: None)
    )


@pytest.mark.parametrize("name", ["append", "http"])
def test_a_question_is_answered_by_the_floor_and_by_everlog(database: Database, name: str) -> None:
    question = QUESTIONS[name]
    sides = [*OURS, *PEERS_HERE]
    results = ask(database, question, sides=sides)
    assert results.rows.keys() == {row.name for row in question.rows_on(database.name)}
    assert unanswered(results, [question], sides, database=database.name) == []


def test_a_smoke_tells_which_figures_are_missing() -> None:
    append, http = QUESTIONS["append"], QUESTIONS["http"]
    [row] = append.rows_on(SQLITE)
    figures = {FLOOR: [1.0], EVERLOG: [0.0]}
    results = Results({row.name: Measured("append", figures)})
    told = partial(unanswered, results, database=SQLITE)
    assert told([append], [FLOOR, EVERLOG]) == [f"{row.name} of {EVERLOG}"]
    assert told([append], [FLOOR]) == []
    del figures[FLOOR]
    assert told([append], [FLOOR]) == [f"{row.name} of {FLOOR}"]
    results.rows.update({row.name: Measured("http") for row in http.rows_on(SQLITE)})
    assert told([http], [FLOOR, EVERLOG]) == [
        f"{r.name} of {EVERLOG}" for r in http.rows_on(SQLITE)
    ]


def test_nothing_of_a_run_is_left_behind(database: Database) -> None:
    ask(database, QUESTIONS["verify"], sides=[FLOOR, EVERLOG])
    if isinstance(database, Files):
        assert [*database.folder.iterdir()] == []
    else:
        assert isinstance(database, Schemas)
        with psycopg.connect(database.url) as connection:
            found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'bench%'")
            assert found.fetchall() == []


def test_a_log_that_grows_is_measured_and_its_answers_checked(database: Database) -> None:
    found = asyncio.run(
        growth.grow(database, [EVERLOG, FLOOR], few=1_000, many=3_000, rounds=1, say=lambda _: None)
    )
    text = growth.document(found, few=1_000, many=3_000, database=database.name, intro="")
    for row in growth.ROWS:
        assert text.count(f"| {row} ") == 2


def test_an_event_is_as_large_as_the_tables_say() -> None:
    assert sizes() == (200, 60)


async def _wrong(asked: Asked) -> dict[str, float]:
    if asked.name in OURS or asked.number == 0:
        return {"work": 1.0}
    raise RuntimeError("no such\ntable")


WORK = Row(name="work", unit="ms", target=Target(floor_ratio=0.5, peer_ratio=2, at_most=10))


def test_the_error_of_a_peer_is_quoted_and_costs_the_others_nothing(files: Files) -> None:
    broken = Question(name="broken", about="", rows=(WORK,), ask=_wrong)
    results = ask(files, broken, sides=[FLOOR, EVERLOG, "eventsourcing"], rounds=2)
    assert results.rows["work"].figures == {FLOOR: [1.0, 1.0], EVERLOG: [1.0, 1.0]}
    text = report.document(results, [WORK], look(), database=SQLITE, asked="test")
    assert "- eventsourcing (broken): `RuntimeError: no such table`" in text
    assert "failed |" in text


def test_an_error_of_ours_ends_the_run(files: Files) -> None:
    async def wrong(_: Asked) -> dict[str, float]:
        raise RuntimeError("no such table")

    with pytest.raises(RuntimeError, match="no such table"):
        ask(files, Question(name="broken", about="", rows=(WORK,), ask=wrong), sides=[EVERLOG])


@pytest.mark.parametrize("name", ["append", "tasks", "processes", "batch", "read"])
def test_a_side_that_loses_an_event_gets_no_figure(
    schemas: Schemas, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_stream = PostgresSide.read_stream

    async def one_less(self: PostgresSide, stream: str) -> Seen:
        events, total = await read_stream(self, stream)
        return Seen(events - 1, total)

    monkeypatch.setattr(PostgresSide, "read_stream", one_less)
    with pytest.raises(AssertionError, match="the answer is"):
        ask(schemas, QUESTIONS[name], sides=[FLOOR])


def test_what_a_side_cannot_do_is_a_dash_and_no_error(files: Files) -> None:
    async def cannot(asked: Asked) -> dict[str, float]:
        if asked.name == BLOCKING_FLOOR:
            raise CannotDo
        return {"work": 1.0}

    results = ask(
        files,
        Question(name="some", about="", rows=(WORK,), ask=cannot),
        sides=[FLOOR, BLOCKING_FLOOR],
    )
    assert (results.rows["work"].figures, results.errors) == ({FLOOR: [1.0]}, {})


def measured(**figures: list[float]) -> Results:
    named = {
        "floor": FLOOR,
        "structs": EVERLOG,
        "models": EVERLOG_PYDANTIC,
        "peer": "eventsourcing",
        "slower": "event-sourcery",
    }
    of_sides = {named[name]: found for name, found in figures.items()}
    return Results(rows={"work": Measured("some", of_sides)})


def test_a_ratio_is_that_of_the_same_round_and_not_that_of_the_medians() -> None:
    # The machine was twice as slow in the second round and ten times in the third.
    results = measured(floor=[2.0, 4.0, 20.0], structs=[4.0, 8.0, 40.0])
    assert report.ratio(results, "work", slow=FLOOR) == report.Ratio(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("mine", "verdicts"),
    [(5.0, [True, True, True]), (10.0, [True, True, False]), (11.0, [False, False, False])],
)
def test_a_target_is_reached_or_not(mine: float, verdicts: list[bool]) -> None:
    results = measured(floor=[5.0], structs=[mine], peer=[10.0], slower=[900.0])
    assert report.best_peer(results, "work") == "eventsourcing"
    # Of the floor, in itself, and beside the best peer.
    assert [reached for _, reached in report.verdicts(results, WORK)] == verdicts


def test_a_target_may_differ_on_a_database() -> None:
    row = QUESTIONS["append"].rows[0]
    targets = {
        name: QUESTIONS["append"].rows_on(name)[0].target.peer_ratio for name in (SQLITE, POSTGRES)
    }
    assert (row.target.peer_ratio, targets) == (1.2, {SQLITE: 1.2, POSTGRES: 3})


def test_the_report_on_postgresql_says_what_the_server_says_of_itself(schemas: Schemas) -> None:
    machine = look(schemas.settings)
    text = report.introduction(machine, "test", database=POSTGRES)
    assert f"PostgreSQL {machine.server['version']}" in text
    assert "fsync on, synchronous_commit on" in text


def test_new_results_take_the_place_of_the_old_ones_of_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "RESULTS", tmp_path)
    old, other = tmp_path / "2026-01-01-abc-sqlite.md", tmp_path / "2026-01-01-abc-growth.md"
    for file in (old, other):
        file.write_text("old", encoding="utf-8")
    machine = look()
    written = saving.save("sqlite", machine, text="# a\n\n## b\n", raw={}, picture=b"png")
    assert sorted(tmp_path.iterdir()) == sorted([*written, other])
    assert f"({written[2].name})" in written[0].read_text(encoding="utf-8")
    assert machine.commit in written[0].name
