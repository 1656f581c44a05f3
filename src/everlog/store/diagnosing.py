"""Diagnosing: what somebody who looks after a ledger should know, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from everlog.core.sequencer import EMPTY
from everlog.core.stamp import parse_stamp
from everlog.core.taking import Held
from everlog.ports.examining import Examined, Finding
from everlog.ports.ledger import Ledger
from everlog.store.subscribing import SubscriptionStatus
from everlog.store.verifying import Verification

CLOCK_MS = 2_000
"""Clocks that are kept by anything differ by less."""
LAG_S = 60.0
"""What is at work and further behind does not keep up."""
OWED_S = 300.0
"""An effect that is owed for longer waits for something."""

_ORDER = {"trouble": 0, "warning": 1, "note": 2}


async def diagnose(
    ledger: Ledger,
    subscriptions: Sequence[SubscriptionStatus],
    verification: Verification | None,
    *,
    now_ms: Callable[[], int],
    max_offset_ms: int,
) -> list[Finding]:
    """Returns what was found, the worst first."""
    found = [
        *_clock((await ledger.head()).clock, now_ms(), max_offset_ms),
        *(finding for status in subscriptions for finding in _subscription(status)),
    ]
    for state in await ledger.upstreams.states():
        found += _held(state.upstream, await ledger.upstreams.held(state.upstream))
    if await ledger.upstreams.orphans(after=0, size=1):
        found.append(
            Finding(
                "warning",
                "orphans",
                "there are orphans: events of strict streams whose places others have taken, and "
                "which no fold has",
                "look at them by store.orphans(), and append what is to be done about them",
            )
        )
    if isinstance(ledger, Examined):
        found += await ledger.examine(now_ms=now_ms)
    if verification is not None:
        found += _damage(verification)
    return sorted(found, key=lambda each: _ORDER[each.severity])


def _clock(clock: str, now_ms: int, max_offset_ms: int) -> Iterator[Finding]:
    ahead_ms = 0 if clock == EMPTY.clock else parse_stamp(clock)[0] - now_ms
    if ahead_ms <= CLOCK_MS:
        return
    yield Finding(
        "trouble" if ahead_ms > max_offset_ms else "warning",
        "clock",
        f"the log's last stamp lies {_span(ahead_ms / 1000)} ahead of this machine's clock: either "
        "this clock is behind, or one that ran ahead has stamped events here",
        "compare this machine's clock with NTP. If it is right, nothing is lost: the log counts on "
        "from its last stamp until the clock has passed it; other ledgers refuse its events while "
        "they are further ahead than max_offset_s",
    )


def _subscription(status: SubscriptionStatus) -> Iterator[Finding]:
    name = status.name
    if status.error:
        yield Finding(
            "trouble",
            "stopped",
            f"subscription {name!r} has stopped of an error: {status.error}",
            "mend what it says, and start its process again: it goes on where it was",
        )
    if status.parked:
        yield Finding(
            "trouble",
            "parked",
            f"subscription {name!r} has {_count(status.parked, 'record')} parked, and "
            f"{status.behind} behind them in their streams wait",
            f"see `everlog subscriptions parked URL {name}`; mend the handler, then retry or drop "
            "them",
        )
    if status.retrying:
        yield Finding(
            "warning",
            "retrying",
            f"subscription {name!r} tries {_count(status.retrying, 'record')} again, as the "
            "handler has failed",
            "it goes on by itself, and parks them in the end; see the log of its process",
        )
    if status.lag and not status.workers:
        yield Finding(
            "trouble",
            "not-running",
            f"subscription {name!r} is {_count(status.lag, 'record')} behind, for "
            f"{_span(status.lag_s)}, and nobody works on it",
            "start its process; if it is not needed any more, remove it",
        )
    elif status.lag and status.lag_s > LAG_S:
        yield Finding(
            "warning",
            "lag",
            f"subscription {name!r} is {_count(status.lag, 'record')} behind, for "
            f"{_span(status.lag_s)}",
            "if that grows, its handlers are slower than the appends: see to them, or give it more "
            "slices and workers",
        )
    if status.waiting:
        yield Finding(
            "warning",
            "other-handlers",
            f"{_count(len(status.waiting), 'process')} of subscription {name!r} wait, as those at "
            "work have other handlers",
            "let the old processes end, as in a rolling deployment",
        )
    yield from _effects(status)


def _effects(status: SubscriptionStatus) -> Iterator[Finding]:
    name = status.name
    see = f"see `everlog effects list URL {name}`, ask the receiver, and settle them"
    if status.ambiguous_effects:
        yield Finding(
            "trouble",
            "ambiguous",
            f"subscription {name!r} has {_count(status.ambiguous_effects, 'effect')} of which "
            "nobody knows whether they happened: their worker died on the way",
            see,
        )
    if status.parked_effects:
        yield Finding(
            "trouble",
            "parked-effects",
            f"subscription {name!r} has {_count(status.parked_effects, 'effect')} that failed for "
            "good, and wait for a person",
            see,
        )
    if status.pending_effects and status.oldest_effect_s > OWED_S:
        yield Finding(
            "warning",
            "owed",
            f"subscription {name!r} owes {_count(status.pending_effects, 'effect')}, the oldest "
            f"for {_span(status.oldest_effect_s)}",
            "see whether its process runs, and whether the handler of that name is still there",
        )


def _held(upstream: str, held: Sequence[Held]) -> Iterator[Finding]:
    for status, count in sorted(Counter(each.verdict for each in held).items()):
        reason = next(each.reason for each in held if each.verdict == status)
        yield Finding(
            "trouble",
            "clock" if status == "clock_ahead" else "held",
            f"{_count(count, 'record')} and what follows in their streams are held back from hub "
            f"{upstream[:12]}, or from here ({status}): {reason}",
            "set this machine's clock right"
            if status == "clock_ahead"
            else "see sync.status().held, and mend what it says at the hub or here",
        )


def _damage(verification: Verification) -> Iterator[Finding]:
    if verification.ok:
        return
    first = verification.problems[0]
    where = "" if first.position is None else f"at position {first.position}: "
    yield Finding(
        "trouble",
        "damage",
        f"verification has found {_count(len(verification.problems), 'problem')}, first {where}"
        f"{first.what}",
        "stop writing, keep a copy of what is there, see `everlog verify`, and restore a backup",
    )


def _count(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
