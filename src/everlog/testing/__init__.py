"""What tests of programs on everlog need: moved clocks, made-up records, given-when-then, a server.

    from everlog.testing import FakeClock, scenario

Needs no test framework, and only `postgres` needs `pip install everlog[testing]`.
`everlog.testing.contract` holds a ledger of your own to the contract, `everlog.testing.torture`
does to it what happens between many processes.
"""

from __future__ import annotations

from everlog.testing.builders import deterministic_bytes, record_of
from everlog.testing.clock import FakeClock
from everlog.testing.deciding import AggregateScenario
from everlog.testing.given import scenario
from everlog.testing.postgresql import PostgresServer, postgres
from everlog.testing.projecting import Call, ProjectorScenario
from everlog.testing.reducing import ReducerScenario

__all__ = [
    "AggregateScenario",
    "Call",
    "FakeClock",
    "PostgresServer",
    "ProjectorScenario",
    "ReducerScenario",
    "deterministic_bytes",
    "postgres",
    "record_of",
    "scenario",
]
