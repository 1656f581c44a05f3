"""The torture from above: starts the processes, makes mischief, and judges what came of it."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from math import inf
from random import Random
from time import monotonic, sleep
from typing import Self

from everlog.errors import CannotOpen, EverlogError, InvalidInput
from everlog.testing.running import run
from everlog.testing.torture.journal import Answered, lines_of
from everlog.testing.torture.judging import Judge
from everlog.testing.torture.mischief import KILLS, PAUSES, TRANSACTIONS, chosen, of_processes
from everlog.testing.torture.plan import Plan, Role
from everlog.testing.torture.processes import Process
from everlog.testing.torture.report import Report
from everlog.testing.torture.transactions import own_table, rows_of
from everlog.testing.torture.urls import is_postgres, marked

STREAMS = 40
"""That all writers share."""
STARTING_S = 60
"""How long processes may take to start, on a machine that does much else."""
ENDING_S = 60
"""How long they may take to finish what they have begun."""

LAST_KILL_S = 0.3
"""Before the end: what a killed process has handed to a server is over by then."""

PAUSE_S = (0.005, 0.08)
"""How long a process is stopped."""
BETWEEN_PAUSES_S = (0.05, 0.4)
FIRST_KILL_S = (0.5, 2.0)
BETWEEN_KILLS_S = (2.0, 6.0)
"""Another has to start each time, which takes what others could use."""


def torture(
    url: str,
    *,
    seconds: float = 10.0,
    at_least: int = 0,
    processes: int = 4,
    writers: int = 16,
    readers: int = 2,
    seed: int | None = None,
    mischief: Sequence[str] | None = None,
    ledger: str | None = None,
) -> Report:
    """Lets processes write to one ledger for so long, and returns what came of it.

    - `url`: as for `EventStore.open`; a ledger that several processes can share. Its events stay.
    - `at_least`: goes on until so many events are stored, though not for over ten times as long
    - `writers`: tasks that write, shared out among so many `processes`; `readers`: processes that
      follow
    - `seed`: of all choices; default: a new one, which the report tells
    - `mischief`: what is done to them: `pauses`, `kills`, `cancellations`; for PostgreSQL also
      `transactions`, `terminations`, `bystanders`; default: all of it. Or `module:function`, which
      is called with a `Scene` in a process of its own. The empty list is peace.
    - `ledger`: `module:function` that is called with the URL and awaited for an open `Ledger`; for
      an adapter of your own. Default: what `EventStore.open` opens.

    Raises `InvalidInput` for what cannot be tortured, what opening the ledger raises, and
    `CannotOpen` where only the processes cannot open it.

    >>> report = torture("sqlite:///torture.db", seconds=0.5, mischief=["pauses", "cancellations"])
    >>> report.ok, report.lost, report.twice, report.inverted, report.gaps
    (True, 0, 0, 0, 0)
    """
    if processes < 1 or writers < processes or readers < 0:
        raise InvalidInput(
            f"{writers} writers in {processes} processes and {readers} readers cannot be: "
            "every process needs a writer"
        )
    with tempfile.TemporaryDirectory(prefix="everlog-torture-") as folder:
        plan = Plan(
            url=url,
            ledger=ledger,
            run=os.urandom(4).hex(),
            seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
            folder=folder,
            start=0,
            streams=STREAMS,
            mischief=chosen(url, mischief),
        )
        plan = run(lambda: _fitted(plan, asked=mischief or ()))
        tables = own_table(plan) if TRANSACTIONS in plan.mischief else nullcontext()
        with tables, Torture(plan, processes, writers, readers) as torturing:
            torturing.begin()
            took = torturing.go_on_for(seconds)
            while took < 10 * seconds and torturing.stored() < at_least:
                took += torturing.go_on_for(max(1.0, seconds / 20))
            torturing.end()
            return torturing.judged(took)


class Torture:
    """The processes of one torture. As a context manager it ends them all, whatever happens."""

    def __init__(self, plan: Plan, processes: int, writers: int, readers: int) -> None:
        self._plan = plan
        self._rng = Random(f"{plan.seed} torture")  # noqa: S311 - no secret
        self._judge = Judge(plan.run, plan.start)
        self._counts: Counter[str] = Counter()
        self._stack = ExitStack()
        self._roles: list[Role] = []
        """Of all processes that there have been."""
        lanes = [writers // processes + (n < writers % processes) for n in range(processes)]
        with ExitStack() as stack:  # should one of them not start
            self._stack = stack
            self._writers = [self._start("writer", n, lanes[n]) for n in range(processes)]
            self._readers = [self._start("reader", n) for n in range(readers)]
            self._others = [self._start(name, 0) for name in of_processes(plan.mischief)]
            self._stack = stack.pop_all()

    @property
    def _all(self) -> list[Process]:
        return [*self._readers, *self._writers, *self._others]

    def begin(self) -> None:
        """Lets all go, as soon as all are ready."""
        for process in self._all:
            if process.hear(timeout_s=STARTING_S) != "ready":
                raise CannotOpen(f"a {process.role.name} did not start: {process.errors}")
        for process in self._all:
            process.say("go")

    def go_on_for(self, seconds: float) -> float:
        """Makes mischief for so long; returns how long it was."""
        begun = monotonic()
        pause = self._soon(PAUSES, BETWEEN_PAUSES_S)
        kill = self._soon(KILLS, BETWEEN_KILLS_S if self._counts["kills"] else FIRST_KILL_S)
        while (now := monotonic()) < begun + seconds:
            if kill > begun + seconds - LAST_KILL_S:
                kill = inf
            if now >= pause:
                self._pause(self._rng.choice([*self._writers, *self._readers]))
                pause = self._soon(PAUSES, BETWEEN_PAUSES_S)
            if now >= kill:
                self._replace(self._rng.randrange(len(self._writers)))
                kill = self._soon(KILLS, BETWEEN_KILLS_S)
            sleep(max(0.0, min(pause, kill, begun + seconds) - monotonic()))
        return monotonic() - begun

    def stored(self) -> int:
        """Returns how many events there are by now."""

        async def position() -> int:
            async with await self._plan.open() as store:
                return (await store.info()).position

        return run(position) - self._plan.start

    def end(self) -> None:
        """Lets all finish: first who makes mischief, then who writes, at last who reads."""
        for group in (self._others, self._writers, self._readers):
            for process in group:
                process.say("stop")
            for process in group:
                self._finish(process)

    def judged(self, seconds: float) -> Report:
        """Returns what came of it."""
        judge = self._judge
        run(self._take_table)
        self._take_journals()
        for process in self._readers:
            lines = process.role.file("seen").read_text("utf-8").splitlines(True)
            judge.reader(f"reader {process.role.number}", lines)
        return Report(
            seed=self._plan.seed,
            seconds=seconds,
            events=judge.events,
            acknowledged=judge.acknowledged,
            lost=judge.lost,
            twice=judge.twice,
            inverted=judge.inverted,
            gaps=judge.gaps,
            counts=self._counts,
            problems=judge.problems,
        )

    # --- mischief ---

    def _soon(self, mischief: str, between: tuple[float, float]) -> float:
        if mischief not in self._plan.mischief:
            return inf
        return monotonic() + self._rng.uniform(*between)

    def _pause(self, process: Process) -> None:
        try:
            process.pause()
            sleep(self._rng.uniform(*PAUSE_S))
        finally:
            process.go_on()
        self._counts["pauses"] += 1

    def _replace(self, index: int) -> None:
        killed = self._writers[index]
        killed.kill()
        if not killed.was_killed:
            self._ended(killed)
        self._counts["kills"] += 1
        role = killed.role
        number = role.number + len(self._writers)  # new names for its calls
        self._writers[index] = self._start("writer", number, role.lanes)
        self._writers[index].say("go")  # it will hear that when it is ready

    # --- processes ---

    def _start(self, name: str, number: int, lanes: int = 0) -> Process:
        plan = self._plan
        if name in ("writer", "reader") and is_postgres(plan.url):
            plan = replace(plan, url=marked(plan.url, plan.mark))
        role = Role(plan, name, number, lanes)
        self._roles.append(role)
        return self._stack.enter_context(Process(role))

    def _finish(self, process: Process) -> None:
        deadline = monotonic() + ENDING_S
        while (said := process.hear(timeout_s=max(0.0, deadline - monotonic()))) != "done":
            if said is None:
                self._ended(process)
                return

    def _ended(self, process: Process) -> None:
        how = f"did not end in {ENDING_S} s" if process.running else "ended by itself"
        name = f"{process.role.name} {process.role.number}"
        self._judge.found("processes", f"{name} {how}: {process.errors or 'it said nothing'}")

    # --- judging ---

    async def _take_table(self) -> None:
        judge = self._judge
        async with await self._plan.open() as store:
            try:
                async for record in store.read(after=self._plan.start):
                    judge.record(record.stored)
                judge.calls()
                verification = await store.verify()
            except EverlogError as error:
                judge.found("table", f"it cannot be read: {type(error).__name__}: {error}")
                return
        if TRANSACTIONS in self._plan.mischief:
            judge.together(await rows_of(self._plan))
        for problem in verification.problems:
            at = "" if problem.position is None else f" at {problem.position}"
            judge.found("verification", f"verify found{at}: {problem.what}")

    def _take_journals(self) -> None:
        answered: list[Answered] = []
        refused: list[str] = []
        for role in self._roles:
            for what, *rest in lines_of(role.file("journal")):
                match what:
                    case "acknowledged":
                        answered.append(Answered(*rest))
                    case "refused":
                        refused += rest
                    case "problem":
                        self._judge.found(f"{role.name}s", f"{role.name} {role.number}: {rest[0]}")
                    case _:
                        self._counts[rest[0]] += 1
        self._judge.answers(answered, refused)
        self._counts["calls acknowledged"] = len(answered)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


async def _fitted(plan: Plan, asked: Sequence[str]) -> Plan:
    """Opens the ledger, which creates what is not there, and fits the plan to what it finds."""
    async with await plan.open() as store:
        if not store.capabilities.shared:
            raise InvalidInput("only a ledger that several processes can share can be tortured")
        made = plan.mischief
        if not store.capabilities.transactions:
            if TRANSACTIONS in asked:
                raise InvalidInput("this ledger's events cannot join transactions of users")
            made = tuple(name for name in made if name != TRANSACTIONS)
        return replace(plan, start=(await store.info()).position, mischief=made)
