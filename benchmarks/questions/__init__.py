"""The questions, one file each, in the order of the table."""

from __future__ import annotations

from benchmarks.question import Question
from benchmarks.questions import (
    append,
    batch,
    fold,
    follow,
    http,
    importing,
    memory,
    processes,
    project,
    read,
    syncing,
    taking_in,
    tasks,
    verify,
)

QUESTIONS: dict[str, Question] = {
    module.QUESTION.name: module.QUESTION
    for module in (
        append,
        tasks,
        processes,
        batch,
        read,
        fold,
        project,
        follow,
        memory,
        taking_in,
        syncing,
        http,
        importing,
        verify,
    )
}
