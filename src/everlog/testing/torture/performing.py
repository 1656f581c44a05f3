"""Doing one thing until it is answered: trying again, being cancelled, giving up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from time import monotonic_ns
from typing import Any

from everlog import EventStore, Record
from everlog.errors import CorruptLedger, OutcomeUnknown, StorageError, WrongVersion
from everlog.testing.torture.events import Call
from everlog.testing.torture.journal import Answered, Journal
from everlog.testing.torture.mischief import CANCELLATIONS, may_fail
from everlog.testing.torture.plan import Plan

PATIENCE_S = 20
"""How long a writer or reader goes on trying while the ledger answers nothing but errors."""

CANCELLED = 0.05
"""So much of all attempts is cancelled."""
CANCELLED_AFTER_S = 0.02
"""At the latest."""
DROPPED = 0.2
"""So many of the calls that were cancelled or failed are not tried again."""

Attempt = Callable[[], Awaitable[Sequence[Record[Any]]]]
"""Tries to store a call: again and again with the same ids. Returns its records, if it is told."""


async def opened(plan: Plan, journal: Journal) -> EventStore:
    """Opens the ledger, however often what is done to it gets in between."""
    deadline = monotonic_ns() + PATIENCE_S * 1e9
    while True:
        try:
            return await plan.open()
        except StorageError as error:
            if not may_fail(plan.mischief) or monotonic_ns() > deadline:
                raise
            journal.counted(f"{type(error).__name__} at opening")
        await asyncio.sleep(0.05)


class RolledBack(Exception):
    """Raised by an attempt that has taken back what it had begun."""


class Performer:
    """Makes calls in the place of a program, and writes down what it was told."""

    def __init__(self, plan: Plan, journal: Journal, rng: Random) -> None:
        self._mischief = plan.mischief
        self._journal = journal
        self._rng = rng

    async def perform(self, call: Call, attempt: Attempt) -> None:
        """Tries until the call is answered or given up; notes what came of it."""
        journal, begun = self._journal, monotonic_ns()
        settled = True
        """Whether every attempt so far is known to have written nothing."""
        while True:
            error = await self._try(call, attempt, begun)
            if error is None:
                return
            settled = settled and _wrote_nothing(error)
            expected = self._expected(error)
            if not expected:
                journal.problem(f"{call.name} ended with {_in_words(error)}")
            if not expected or self._rng.random() < DROPPED:
                if settled:
                    journal.refused(call.name)
                journal.counted("calls given up")
                return
            if isinstance(error, StorageError):
                if monotonic_ns() - begun > PATIENCE_S * 1e9:
                    journal.problem(f"no answer in {PATIENCE_S} s but {_in_words(error)}")
                    return
                await asyncio.sleep(self._rng.uniform(0, 0.05))

    async def _try(self, call: Call, attempt: Attempt, begun: int) -> BaseException | None:
        """Makes one attempt; returns what kept it from being acknowledged."""
        journal = self._journal

        async def begin() -> Sequence[Record[Any]]:
            return await attempt()

        task = asyncio.create_task(begin())
        if CANCELLATIONS in self._mischief and self._rng.random() < CANCELLED:
            await asyncio.wait([task], timeout=self._rng.uniform(0, CANCELLED_AFTER_S))
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            journal.counted("cancelled")
            return asyncio.CancelledError()
        error = task.exception()
        if error is not None:
            journal.counted(type(error).__name__)
            if isinstance(error, WrongVersion) and error.actual == error.expected:
                journal.problem(f"a conflict that is none: {error}")
            return error
        records = task.result()
        if records and [record.id for record in records] != call.ids:
            journal.problem(f"{call.name} was answered with other records")
        positions = [record.position for record in records]
        journal.acknowledged(
            Answered(call.name, len(call.streams), begun, monotonic_ns(), positions)
        )
        return None

    def _expected(self, error: BaseException) -> bool:
        """Whether that is an answer like any other, or one that what is done here explains."""
        if isinstance(error, StorageError):
            return may_fail(self._mischief) and not isinstance(error, CorruptLedger)
        return isinstance(error, (WrongVersion, RolledBack, asyncio.CancelledError))


def _wrote_nothing(error: BaseException) -> bool:
    if isinstance(error, StorageError):
        return not isinstance(error, OutcomeUnknown)
    return isinstance(error, (WrongVersion, RolledBack))


def _in_words(error: BaseException) -> str:
    cause = error.__cause__
    because = "" if cause is None else f", because of {type(cause).__name__}: {cause}"
    return f"{type(error).__name__}: {error}{because.splitlines()[0] if because else ''}"
