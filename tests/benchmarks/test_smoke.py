"""Every benchmark runs and gets the right answers; how fast is not a test's business."""

import asyncio

import pytest

from benchmarks import report
from benchmarks.machine import look
from benchmarks.question import Size
from benchmarks.questions import QUESTIONS
from benchmarks.running import run
from benchmarks.sides import OURS


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered_alike_by_the_floor_and_by_everlog(name: str) -> None:
    question = QUESTIONS[name]
    results = asyncio.run(
        run([question], list(OURS), rounds=1, size=Size(scale=0.01), say=lambda _: None)
    )
    for row in question.rows:
        figures = results.rows[row.name].figures
        assert {"floor", "everlog, msgspec"} <= figures.keys()
        assert all(figure > 0 for [figure] in figures.values())
    text = report.document(results, question.rows, look(), asked="test")
    assert all(row.name in text for row in question.rows)
