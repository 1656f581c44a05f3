"""Whatever befalls many ledgers, they become one: 500 seeds in each merge, more in the soak."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter

import pytest

from tests.simulation.options import Options
from tests.simulation.playing import SEEDS, Session, play, play_many

SOMETIMES = [
    "another's event given back",
    "answer damaged",
    "clone",
    "crash in the middle of something",
    "CursorMoved",
    "effect of a returned event",
    "effect of a returned event that is outdated",
    "epoch left for another",
    "event given back that the hub has had",
    "fail-over behind an answer to a push",
    "fail-over that loses something",
    "fail-over with a new epoch",
    "fold from a snapshot",
    "held",
    "hub raised LogDiverged",
    "in step after 4 passes",
    "late answer to a hello applied",
    "late answer to a pull applied",
    "late answer to a push applied",
    "message lost",
    "message repeated",
    "needed before it goes",
    "new record behind the old one",
    "old hello arrived",
    "old hub becomes an edge",
    "old hub comes back",
    "old hub goes on",
    "old pull arrived",
    "old record behind the new one",
    "old push arrived",
    "outdated",
    "pull judged tampered",
    "own event out of the scope",
    "purged",
    "push judged accepted",
    "push judged out_of_scope",
    "push judged clock_ahead",
    "push judged duplicate",
    "push judged tampered",
    "push judged waiting",
    "receiver was asked",
    "relation: changed while it was read",
    "relation: entered",
    "relation: entered with what was there",
    "relation: left",
    "released",
    "repeated call absorbed by the key",
    "request lost at a partition",
    "restore that loses an own event",
    "returned",
    "round in step with one hub",
    "rewind to an ancestor behind the beginning",
    "second loop of a ledger",
    "stamped anew",
    "strict: answered off line",
    "strict: append known at the hub",
    "strict: append repeated",
    "strict: forwarded",
    "strict: Offline",
    "strict: orphan shown",
    "strict: OutcomeUnknown",
    "strict: slot free",
    "strict: slot taken",
    "strict: WrongVersion",
    "StaleUpstream",
    "TransportFailed",
    "UpstreamFault",
    "WrongUpstream",
]
"""What has to have happened: a run in which it has not shows nothing about it."""

OVER_HTTP = [
    "another's event given back",
    "answer cut in its bytes",
    "answer damaged",
    "fail-over that loses something",
    "late answer to a pull applied",
    "old push arrived",
    "push judged clock_ahead",
    "push judged out_of_scope",
    "request by HTTP",
    "restore that loses an own event",
    "rewind to an ancestor behind the beginning",
    "stamped anew",
    "told that histories have parted",
    "TransportFailed",
    "WrongUpstream",
]


def check(session: Session) -> None:
    """Fails with what the first run that failed says, or with what never happened."""
    assert not session.failed, str(session.failed[0])
    never = [what for what in SOMETIMES if not session.counts[what]]
    assert not never, f"in {session.played} runs it never happened: {never}"


@pytest.mark.once
@pytest.mark.timeout(1200)
def test_many_ledgers_become_one_whatever_befalls_them() -> None:
    session = play_many(range(SEEDS))
    assert session.played == SEEDS
    check(session)
    print(f"{session.played} seeds in {session.seconds:.0f} s")


@pytest.mark.once
@pytest.mark.timeout(1200)
def test_many_ledgers_become_one_over_http() -> None:
    session = play_many(range(0, SEEDS, 10), http=True)
    assert session.played == 50
    assert not session.failed, str(session.failed[0])
    never = [what for what in OVER_HTTP if not session.counts[what]]
    assert not never, f"in {session.played} runs it never happened: {never}"
    print(f"{session.played} seeds over HTTP in {session.seconds:.0f} s")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_other_seeds_show_nothing_else() -> None:
    first = random.SystemRandom().randrange(10**9)
    seconds = float(os.environ.get("EVERLOG_SIMULATE_S", "600"))
    session = play_many(itertools.count(first), most_s=seconds)
    print(f"{session.played} seeds from {first} in {session.seconds:.0f} s")
    check(session)


# --- tests of the tests ---


@pytest.mark.once
def test_a_seed_replays_exactly() -> None:
    for seed in range(5):
        first, again = play(seed), play(seed)
        assert first.counts == again.counts
        assert first.violations == again.violations


def test_options_can_be_said_otherwise() -> None:
    options = Options.of(7).but({"edges": "2", "drop": "0.25", "secret": "True"})
    assert (options.edges, options.drop, options.secret) == (2, 0.25, True)
    said = str(options).replace("--", "").split()
    assert Options.of(8).but(dict(zip(said[::2], said[1::2], strict=True))) == options


def test_what_never_happened_is_told() -> None:
    counts = Counter(dict.fromkeys(SOMETIMES, 1))
    check(Session(1, [], counts, 0.0))
    counts["held"] = 0
    with pytest.raises(AssertionError, match=r"never happened: .'held'"):
        check(Session(1, [], counts, 0.0))
