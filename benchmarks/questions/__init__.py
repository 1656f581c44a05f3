"""The questions, one file each, in the order of the table."""

from __future__ import annotations

from benchmarks.question import Question
from benchmarks.questions import (
    append,
    batch,
    fold,
    follow,
    importing,
    memory,
    project,
    read,
    tasks,
    verify,
)

QUESTIONS: dict[str, Question] = {
    module.QUESTION.name: module.QUESTION
    for module in (
        append,
        tasks,
        batch,
        read,
        fold,
        project,
        follow,
        memory,
        importing,
        verify,
    )
}
