"""One interleaved run: in every round each side is asked the same, one right after the other.

A shared machine drifts; sides that take turns within a second drift together, so what is compared
is always a ratio within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.databases import Database
from benchmarks.logs import Logs
from benchmarks.question import Asked, Question, Size
from benchmarks.side import CannotDo, Side
from benchmarks.sides import EVERLOG, FLOOR, OURS, make


@dataclass(slots=True)
class Measured:
    """What was found out about one row."""

    question: str
    figures: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """By side: a figure per round."""


@dataclass(slots=True)
class Results:
    """What was found out in a run."""

    rows: dict[str, Measured] = field(default_factory=dict[str, Measured])
    errors: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By peer and question: why there is no figure."""


def unanswered(
    results: Results, questions: Sequence[Question], sides: Sequence[str], *, database: str
) -> list[str]:
    """Returns the rows in which everlog or the floor, if it was asked, has no figure above zero."""
    missing: list[str] = []
    for question in questions:
        ours = [name for name in question.asked_of((EVERLOG, FLOOR)) if name in sides]
        for row in question.rows_on(database):
            figures = results.rows[row.name].figures
            for name in ours:
                if not all(figure > 0 for figure in figures.get(name) or [0.0]):
                    missing.append(f"{row.name} of {name}")
    return missing


async def run(
    database: Database,
    questions: Sequence[Question],
    sides: Sequence[str],
    *,
    rounds: int,
    size: Size,
    say: Callable[[str], None],
) -> Results:
    """Asks every side every question `rounds` times. Faults of peers are kept, ours are raised."""
    results = Results()
    with database.room() as new_for_all:
        logs = Logs(database, new_for_all, size)
        for question in questions:
            rows = question.rows_on(database.name)
            if not rows:
                continue
            asked = question.asked_of(sides)
            for row in rows:
                results.rows[row.name] = Measured(question.name)
            for number in range(min(rounds, question.rounds or rounds)):
                say(f"{question.name}: round {number + 1}")
                for name in _turned(asked, number):
                    if question.name in results.errors.get(name, {}):
                        continue
                    maker: Callable[[], Side] = partial(make, database.name, name)
                    with database.room() as new:
                        await _ask(
                            question,
                            Asked(
                                name=name,
                                number=number,
                                make=maker,
                                database=database.name,
                                new=new,
                                log=partial(logs.of, name, maker),
                                size=size,
                            ),
                            results,
                        )
    return results


async def _ask(question: Question, asked: Asked, results: Results) -> None:
    try:
        figures = await question.ask(asked)
    except CannotDo:
        return
    except Exception as error:
        if asked.name in OURS:
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        results.errors.setdefault(asked.name, {})[question.name] = text
        for row in question.rows:  # ratios need a figure from every round
            if row.name in results.rows:
                results.rows[row.name].figures.pop(asked.name, None)
        return
    for name, figure in figures.items():
        results.rows[name].figures.setdefault(asked.name, []).append(figure)


def _turned(names: Iterable[str], number: int) -> list[str]:
    """Returns the names beginning with another one each round: who is first has it harder."""
    found = list(names)
    first = number % len(found) if found else 0
    return found[first:] + found[:first]
