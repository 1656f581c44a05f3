"""Examining: what can be wrong with a server and its settings, beside what the ledger holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Script, ask
from everlog.ports.examining import Finding

APART_MS = 2_000
"""Two clocks that are kept by anything differ by less."""
OPEN_S = 60
"""A transaction that does nothing for so long was forgotten."""
OLD_TRANSACTIONS = 1_500_000_000
"""Of the 2 thousand million that a database can count before it stops taking writes."""


def examine(now_ms: Callable[[], int]) -> Script[list[Finding]]:
    """Finds what is unsafe at the server, or will not last."""
    begun_ms = now_ms()
    [row] = yield from ask(schema.SELECT_CONDITION, {"open_s": OPEN_S})
    ended_ms = now_ms()
    fsync, full_pages, standby, server_ms, idle, idle_s, age = row
    return [
        *_settings(fsync, full_pages, standby),
        *_clock(begun_ms, int(server_ms), ended_ms),
        *_transactions(int(idle), int(idle_s or 0), int(age)),
    ]


def _settings(fsync: str, full_pages: str, standby: bool) -> Iterator[Finding]:
    if fsync != "on":
        yield Finding(
            "trouble",
            "fsync",
            "the server runs with fsync off: a power cut can corrupt the whole database",
            "set fsync = on in postgresql.conf, and reload; off is for tests",
        )
    if full_pages != "on":
        yield Finding(
            "trouble",
            "full-page-writes",
            "the server runs with full_page_writes off: a power cut can leave half of a page",
            "set full_page_writes = on in postgresql.conf, and reload",
        )
    if standby:
        yield Finding(
            "trouble",
            "standby",
            "the server is a standby: it can be read, and appends fail",
            "name the primary in the URL, or several hosts with target_session_attrs=read-write",
        )


def _clock(begun_ms: int, server_ms: int, ended_ms: int) -> Iterator[Finding]:
    # The server has looked at its clock at some time between the two.
    ahead_ms = max(0, begun_ms - server_ms) or min(0, ended_ms - server_ms)
    if abs(ahead_ms) < APART_MS:
        return
    direction = "ahead of" if ahead_ms > 0 else "behind"
    yield Finding(
        "warning",
        "clock",
        f"this machine's clock is {abs(ahead_ms) / 1000:.0f} s {direction} the server's",
        "have both kept by NTP; order does not depend on it, but events are stamped with the time "
        "of the machine that appends",
    )


def _transactions(idle: int, idle_s: int, age: int) -> Iterator[Finding]:
    if idle:
        yield Finding(
            "warning",
            "open-transaction",
            f"{idle} transaction(s) of this database do nothing and stay open, the oldest for "
            f"{idle_s} s: what they have locked waits, and nothing can be vacuumed",
            "look for them in pg_stat_activity (state 'idle in transaction'), and set "
            "idle_in_transaction_session_timeout",
        )
    if age > OLD_TRANSACTIONS:
        yield Finding(
            "trouble",
            "wraparound",
            f"the oldest transaction id of the database is {age:,} transactions old; at 2,100 "
            "million the server takes no writes any more",
            "find out why autovacuum does not get through, and run VACUUM FREEZE",
        )
