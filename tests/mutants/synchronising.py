"""Mutants of synchronising: each is killed by one of few seeds of the simulation.

`python -m tests.simulation.hunting [NAME ...]` looks for seeds that kill.
"""

from __future__ import annotations

from tests.mutants.mutant import MEMORY, SQLITE, Mutant

EDGE = "sync/edge.py"
FORWARDING = "sync/forwarding.py"
HUB = "sync/hub.py"
DECIDING = "sync/deciding.py"
SEQUENCER = "core/sequencer.py"
TAKING = "core/taking.py"
MEMORY_UPSTREAMS = "adapters/memory/upstreams.py"


LOADING = "tests/sync/test_loading.py::"

KILLER = "tests/simulation/killing_seeds.py::test_all_holds_with_these_seeds"


def seeds(first: int, last: int) -> tuple[str, ...]:
    """Returns the test that plays some seeds, of which one has to kill."""
    return (f"{KILLER}[{first}..{last}]",)


FIRST = seeds(0, 49)
"""What most are killed by. A change of the library may change which of them does."""

PROMISES = seeds(140, 159)
"""With hubs that fail over as soon as they have answered, to what has nothing of it."""

STAMPING = seeds(300, 366)
"""With clocks of edges that run ahead, and whose stamps are replaced."""

SCOPED = seeds(434, 463)
"""With an edge that wants a part of the streams."""

STRICT = seeds(240, 279)
"""With streams that only the hub appends to."""

RELATED = seeds(464, 499)
"""With an edge that wants what is in a relation, also of such streams."""

ROUNDS = "tests/sync/test_rounds.py::"
TWICE = "test_a_piece_that_has_a_record_twice_stores_it_once"
LOST_BEFORE = "test_nobody_is_told_that_he_has_appended_what_the_hub_has_lost_before_it_came"
SYNCING = "tests/sync/test_syncing.py::"

SYNCHRONISING = [
    Mutant(
        "the chain at a push",
        "a hub takes nothing from an edge that stands in another history",
        HUB,
        "if chain != asked.cursor.chain:",
        "if chain is asked:",
        FIRST,
    ),
    Mutant(
        "the chain at a pull",
        "a hub gives nothing to an edge that stands in another history",
        HUB,
        "after=asked.cursor.position, seen=seen, prefix=prefix, relation=relation",
        "after=asked.cursor.position, prefix=prefix, relation=relation",
        FIRST,
    ),
    Mutant(
        "the chain of what is pulled",
        "an edge computes the hub's chain again",
        DECIDING,
        "chain = link(chain, record.hash, version=record.version, flags=record.flags)",
        "chain = record.chain",
        FIRST,
    ),
    Mutant(
        "the content of what is pulled",
        "an edge computes the hash of what it pulls again",
        DECIDING,
        "check_record(record)\n            _check_place(record)\n        except",
        "_check_place(record)\n        except",
        FIRST,
    ),
    Mutant(
        "what was checked before it came",
        "a piece that was checked for one place is checked again where it comes for another",
        "sync/edge.py",
        "(before.cursor, before.scope) == (asked.cursor, asked.scope)",
        "before.hub == asked.hub",
        (ROUNDS + "test_what_was_checked_for_one_place_is_checked_again_at_another",),
    ),
    Mutant(
        "where an answer begins",
        "an answer is applied only where it goes on from the cursor",
        TAKING,
        "    if state.cursor != at or is_stale(state, epoch):",
        "    if is_stale(state, epoch):",
        FIRST,
    ),
    Mutant(
        "an epoch that was left",
        "an edge does not go back to an old hub where another process has met the new one",
        TAKING,
        "    if state.cursor != at or is_stale(state, epoch):",
        "    if state.cursor != at:",
        (
            "tests/sync/test_rounds.py::"
            "test_a_ledger_does_not_go_back_to_an_epoch_that_another_process_has_left",
        ),
    ),
    Mutant(
        "which epoch is the later one",
        "an old hub that an edge has never met is refused",
        "core/epoch.py",
        "return _is_timed(than) and (not _is_timed(epoch) or epoch < than)",
        "return epoch == than != epoch",
        (
            "tests/sync/test_epochs.py::"
            "test_of_two_hubs_the_one_that_began_its_epoch_later_is_the_hub[the new one]",
        ),
    ),
    Mutant(
        "the newest place that both have",
        "an edge goes back to a place that the hub has, too",
        DECIDING,
        "if mark.chain == chain:",
        "if chain is not None:",
        FIRST,
    ),
    Mutant(
        "forgetting what the hub has lost",
        "what stands above the ancestor is unconfirmed again",
        MEMORY_UPSTREAMS,
        "copy.entries.update({entry.id: entry._replace(position=None) for entry in gone})",
        "pass",
        FIRST,
    ),
    Mutant(
        "what was settled, after a rewind",
        "a rewind forgets that nothing was unconfirmed",
        TAKING,
        "marks=(*below, rewind.to), settled=0)",
        "marks=(*below, rewind.to))",
        FIRST,
    ),
    Mutant(
        "what was settled, where another has moved on",
        "an edge forgets what it has noted of a place that the ledger has left",
        EDGE,
        "        self._state = state\n        self._looked = self._settled = 0\n",
        "        self._state = state\n",
        FIRST,
    ),
    Mutant(
        "what was settled, where another process has moved on",
        "an edge forgets what it has noted when it finds that another process was faster",
        EDGE,
        "        except CursorMoved:\n            await self._reload()\n            return False",
        "        except CursorMoved:\n"
        "            noted = self._settled, self._looked\n"
        "            await self._reload()\n"
        "            self._settled, self._looked = noted\n"
        "            return False",
        (
            "tests/sync/test_rounds.py::"
            "test_what_one_process_has_noted_does_not_hold_where_another_has_gone_back",
        ),
    ),
    Mutant(
        "what was settled, with something held",
        "what is held is looked at again when it is released",
        MEMORY_UPSTREAMS,
        "if settled is None:\n",
        "if settled is None and record.id not in copy.held:\n",
        FIRST,
    ),
    Mutant(
        "giving back the events of others",
        "an edge offers what a hub has lost, whoever's it is",
        EDGE,
        "offers = [Offer(*each) for each in found.records]",
        "offers = [Offer(*each) for each in found.records if each.record.origin == asked.edge]",
        FIRST,
    ),
    Mutant(
        "an answer is no more than a promise",
        "what was answered and is not in the feed is offered before what comes after it",
        EDGE,
        # With what finds it in the last moment, for the sake of other processes.
        """            if await self._has_passed(found):
                continue  # what another process has released comes first, in its stream
            first = found.records[0].record.position
            if first < last or (first == last and not again):
                # Answered, and not in the feed: the next round asks what has become of it.
                return until
            self._looked = first - 1
""",
        """            first = found.records[0].record.position
            if first < last or (first == last and not again):
                return until
            self._looked = found.until
""",
        PROMISES,
    ),
    Mutant(
        "what was found goes with a cursor",
        "what another process has pulled is not offered with the cursor of before",
        EDGE,
        "if await self._has_moved():\n                continue",
        "if await self._has_moved() is None:\n                continue",
        (
            "tests/sync/test_rounds.py::"
            "test_what_another_process_has_pushed_and_the_hub_has_lost_comes_first_again",
        ),
    ),
    Mutant(
        "what is released",
        "what was stamped too far ahead is offered again in time",
        EDGE,
        "        await self._release_ripe()\n",
        "",
        FIRST,
    ),
    Mutant(
        "held is not offered",
        "what a hub has refused is not offered again and again",
        MEMORY_UPSTREAMS,
        "if record.id not in copy.held and record.stream not in stopped:",
        "if True:",
        FIRST,
    ),
    Mutant(
        "what waits behind it",
        "what comes after a refused one in its stream is not offered before it",
        MEMORY_UPSTREAMS,
        "if record.id not in copy.held and record.stream not in stopped:",
        "if record.id not in copy.held:",
        (MEMORY + "test_what_is_held_is_left_out_with_all_of_its_stream",),
    ),
    Mutant(
        "copies of what was there already",
        "what a ledger has already is in the copy, too",
        TAKING,
        "if judged.verdict in TAKEN:",
        'if judged.verdict == "accepted":',
        FIRST,
    ),
    Mutant(
        "one row per id",
        "what is there already is not stored again",
        SEQUENCER,
        "present = arrivals.find(id)",
        "present = None",
        FIRST,
    ),
    Mutant(
        "all of it is new",
        "a piece in which something is known is not taken in as a new one",
        SEQUENCER,
        "and self._known.keys().isdisjoint(ids)",
        "and self._known is not ids",
        FIRST,
    ),
    Mutant(
        "each of it comes once",
        "a piece that has a record twice is not taken in as one that has each once",
        SEQUENCER,
        "len(ids) == len(records) and",
        "ids is not records and",
        (f"{MEMORY}{TWICE}", f"{SQLITE}{TWICE}"),
    ),
    Mutant(
        "orphans that were known",
        "what was stored before it was an orphan is one where the upstream says so",
        "adapters/sqlite/writing.py",
        "if len(new) < len(entries):",
        "if len(new) > len(entries):",
        (SQLITE + "test_what_the_upstream_has_as_an_orphan_now_is_one_and_back",),
    ),
    Mutant(
        "orphans that are new",
        "what comes as an orphan is one",
        "adapters/sqlite/writing.py",
        "if orphaned or any(row.flags & ORPHAN for row in sequencer.rows):",
        "if orphaned:",
        (SQLITE + "test_an_orphan_takes_no_version_no_register_and_is_in_no_fold",),
    ),
    Mutant(
        "another event of the same id",
        "an event is not taken for another one that has its id",
        SEQUENCER,
        "elif present.hash == record.hash:",
        "elif present is not None:",
        seeds(90, 139),
    ),
    Mutant(
        "pulled is hydrated",
        "what was born elsewhere is hydrated",
        SEQUENCER,
        "HYDRATED if record.origin != own else HYDRATED | RETURNED for record",
        "0 if record.origin != own else HYDRATED | RETURNED for record",
        FIRST,
    ),
    Mutant(
        "given back is known as that",
        "an effect that a restored ledger forgot is not lost",
        SEQUENCER,
        "HYDRATED if record.origin != own else HYDRATED | RETURNED for record",
        "HYDRATED for record",
        FIRST,
    ),
    Mutant(
        "effects of what was given back",
        "the effect of an event that a ledger forgot is not lost",
        "subscriptions/obligations.py",
        "if flags & RETURNED:",
        "if flags == RETURNED:",
        FIRST,
    ),
    Mutant(
        "stamps of others",
        "what is made after another event was read is created after it",
        SEQUENCER,
        "clock, created, node=node, now_ms=now_ms, max_offset_ms=max_offset_ms",
        "clock, clock, node=node, now_ms=now_ms, max_offset_ms=max_offset_ms",
        FIRST,
    ),
    Mutant(
        "how far ahead",
        "a hub takes nothing new that is stamped too far ahead",
        SEQUENCER,
        "bound_ms = None if linked or id in vouched else request.max_offset_ms",
        "bound_ms = None",
        FIRST,
    ),
    Mutant(
        "vouched for",
        "what a hub has had is given back whatever its stamp",
        SEQUENCER,
        "bound_ms = None if linked or id in vouched else request.max_offset_ms",
        "bound_ms = None if linked else request.max_offset_ms",
        FIRST,
    ),
    Mutant(
        "outdated where it came late",
        "a pulled record is outdated if a newer one of its register is there",
        SEQUENCER,
        "if before is not None and before > order:",
        "if before is not None and before < order:",
        FIRST,
    ),
    Mutant(
        "snapshots that are overtaken",
        "a snapshot is not used once something came that belongs before its end",
        "core/snapshot.py",
        "return bool(following) and following[0].order < (snapshot.created, snapshot.id)",
        "return False",
        FIRST,
    ),
    Mutant(
        "receipts that hold",
        "a hub takes what it has had from whoever gives it back",
        DECIDING,
        "known = holds(secret, record, offer.receipt)",
        "known = False",
        FIRST,
    ),
    Mutant(
        "receipts are kept",
        "what the hub gave with an event is known after it has lost it",
        TAKING,
        "_as_entry((record.id, record.position, version, record.flags, receipt, False))",
        "_as_entry((record.id, record.position, version, record.flags, None, False))",
        FIRST,
    ),
    Mutant(
        "versions and flags in the chain of two ledgers",
        "ledgers with the same chain have the same history, versions and flags and all",
        "core/chain.py",
        'previous + hash + version.to_bytes(8, "big") + flags.to_bytes(1, "big")',
        "previous + hash",
        FIRST,
    ),
    Mutant(
        "a copy under its own id",
        "two ledgers of one id do not synchronise",
        EDGE,
        "if welcome.ledger == identity.ledger:",
        "if welcome.ledger is None:",
        FIRST,
    ),
    Mutant(
        "what was replaced is not offered",
        "what has got another stamp is nowhere else under its old one",
        MEMORY_UPSTREAMS,
        "if tables.unfolded.get(record.id) is not None or record.is_tombstone:",
        "if record.is_tombstone:",
        (f"{MEMORY}test_what_was_replaced_is_not_offered_and_holds_up_nothing",),
    ),
    Mutant(
        "effects of what was stamped anew",
        "an effect is owed for the old record or for the one in its place, not for both",
        "subscriptions/obligations.py",
        "if not handlers or record.origin != self._ledger or flags & RESTAMPED:",
        "if not handlers or record.origin != self._ledger:",
        STAMPING,
    ),
    Mutant(
        "a hub of others stamps nothing anew",
        "what a ledger may have given away keeps its stamp",
        EDGE,
        "if await self._ledger.upstreams.state(own) is not None:",
        "if await self._ledger.upstreams.state(own) is own:",
        ("tests/sync/test_syncing.py::test_a_hub_of_others_does_not_stamp_anew_but_holds",),
    ),
    Mutant(
        "stamped anew with all that is later",
        "what is stamped anew does not come to stand behind what was born after it",
        SEQUENCER,
        "if created >= old.created:",
        "if created is old.created:",
        (f"{MEMORY}test_nothing_is_stamped_anew_that_would_come_to_stand_behind_a_later_one",),
    ),
    Mutant(
        "hubs below strict streams",
        "an edge of an edge does not append where the hub above alone may",
        HUB,
        "        _require_none(self._strict_above())\n",
        "",
        (f"{LOADING}test_who_is_in_step_with_a_hub_that_has_strict_streams_is_nobodys_hub",),
    ),
    Mutant(
        "what was said meanwhile",
        "a hub's word is newer than what the ledger has of it",
        "sync/forwarding.py",
        "if state.strict and state.upstream not in self._learned:",
        "if state.strict:",
        (f"{LOADING}test_what_a_hub_has_said_meanwhile_is_not_undone_by_what_was_looked_up",),
    ),
    Mutant(
        "what is not wanted is not given",
        "an edge gets what is in its scope, and nothing else",
        HUB,
        "after=asked.cursor.position, seen=seen, prefix=prefix, relation=relation",
        "after=asked.cursor.position, seen=seen, relation=relation",
        SCOPED,
    ),
    Mutant(
        "what is not given back is confirmed",
        "an edge does not wait for what it wrote and does not want",
        EDGE,
        'if each.verdict == "out_of_scope"\n',
        'if each.verdict == "accepted"\n',
        SCOPED,
    ),
    Mutant(
        "a hub says what it does not give back",
        "an edge is told what is out of its scope",
        HUB,
        "if each.verdict in TAKEN and not scope.has(offer.record, members):",
        "if each.verdict is members:",
        SCOPED,
    ),
    Mutant(
        "the old version of what is given back",
        "what a hub has lost of a strict stream has its old place or none",
        SEQUENCER,
        "if version != arrivals.version(stream) + 1:",
        "if version is None:",
        STRICT,
    ),
    Mutant(
        "orphans are kept apart",
        "an event whose place another has is in no fold",
        "adapters/memory/writing.py",
        "        if is_orphan:\n            tables.unfolded",
        "        if is_orphan is None:\n            tables.unfolded",
        STRICT,
    ),
    Mutant(
        "folds without orphans",
        "a fold in memory leaves out orphans",
        "adapters/memory/reading.py",
        "if record.position not in tables.late_positions and record.id not in tables.unfolded",
        "if record.position not in tables.late_positions",
        STRICT,
    ),
    Mutant(
        "orphans are shown",
        "every ledger lists the events whose places others have",
        MEMORY_UPSTREAMS,
        "for id, by in tables.unfolded.items() if by is None]",
        "for id, by in tables.unfolded.items() if by == id]",
        STRICT,
    ),
    Mutant(
        "an orphan has no place to go back to",
        "an orphan does not take a place that it never had from a hub that is set back again",
        TAKING,
        "version = 0 if record.flags & ORPHAN else record.version",
        "version = record.version",
        STRICT,
    ),
    Mutant(
        "what an edge expects of a strict stream",
        "an append that is forwarded is refused where the hub's stream has moved on",
        FORWARDING,
        "there.append(event._replace(expect=expect))",
        "there.append(event._replace(expect=Expect.ANY))",
        STRICT,
    ),
    Mutant(
        "offline is said before anything is sent",
        "an append to a strict stream is not tried on a line that is cut",
        FORWARDING,
        "        if line in lines:\n",
        "        if line is lines:\n",
        STRICT,
    ),
    Mutant(
        "versions of the history that the hub has",
        "an append is refused where the hub has lost what it was decided on",
        HUB,
        "if chain != expected:",
        "if chain is request:",
        (f"{ROUNDS}test_versions_are_those_of_the_history_that_the_hub_has",),
    ),
    Mutant(
        "the last version that a hub has given",
        "who has read a stream to its end can append to it, in whatever order it came",
        MEMORY_UPSTREAMS,
        "there = max(there or 0, entry.version)",
        "there = there or entry.version",
        STRICT,
    ),
    Mutant(
        "what a hub may have lost of a stream",
        "nothing is decided on an event of which it is not known whether it has its place still",
        MEMORY_UPSTREAMS,
        "            elif entry.position is None:\n",
        "            elif entry.position is entry:\n",
        (
            "tests/contract/test_memory.py::TestMemory::"
            "test_who_has_read_all_that_is_here_is_told_the_version_that_it_has_there",
        ),
    ),
    Mutant(
        "a retry that is answered from here",
        "an append whose answer was lost is not made again where the hub has lost it",
        FORWARDING,
        "if len(known) == len(ids):",
        "if len(known) > len(ids):",
        (f"{ROUNDS}test_a_retry_of_what_is_here_is_answered_from_here",),
    ),
    Mutant(
        "what enters a relation",
        "a stream that enters the relation that an edge wants comes as a whole",
        HUB,
        "said += [scope.relation, revision, hashlib.sha256(members.encode()).hexdigest()]",
        "said += [scope.relation]",
        RELATED,
    ),
    Mutant(
        "what enters a relation while it is read",
        "a stream that enters a relation in the middle of its history comes from its beginning",
        EDGE,
        "answer = unbroken(answer, tally.given)._replace(scope=MIXED)",
        "answer = answer._replace(scope=MIXED)",
        RELATED,
    ),
    Mutant(
        "members of a relation that was set back",
        "a relation that has changed as often as another is not taken for it",
        HUB,
        "hashlib.sha256(members.encode())",
        "hashlib.sha256()",
        (f"{SYNCING}test_a_relation_that_was_set_back_and_changed_as_often_is_another_one",),
    ),
    Mutant(
        "receipts of what has left a scope",
        "what an edge was given once it can give back, also when it is not wanted any more",
        MEMORY_UPSTREAMS,
        "if before is not None and entry.receipt is None:",
        "if before is entry:",
        RELATED,
    ),
    Mutant(
        "confirmed in the history that has it",
        "what is not given back is not taken for confirmed where the hub has lost it",
        EDGE,
        "and each.position <= at.position\n",
        "and each.position > 0\n",
        (f"{ROUNDS}test_what_is_not_wanted_is_confirmed_in_the_history_that_has_it",),
    ),
    Mutant(
        "the end of a round",
        "an edge that is written to all the time gets into step",
        EDGE,
        "if found.records[0].record.position > until:",
        "if found.records[0].record.position > 2**63:",
        (
            "tests/sync/test_busy.py::"
            "test_an_edge_that_is_written_to_all_the_time_gets_into_step[memory]",
        ),
    ),
    Mutant(
        "the right to work with another hub",
        "who kept a ledger in step goes on where another hub is in the place of the first",
        "sync/leasing.py",
        "if name != self._name:",
        "if not self._name:",
        (
            "tests/sync/test_leasing.py::"
            "test_whoever_worked_with_one_hub_works_with_the_one_in_its_place",
        ),
    ),
    Mutant(
        "the hub that was reached last",
        "an append to a strict stream goes to the hub that is there, not to the one before it",
        FORWARDING,
        "self._strict = {hub: self._strict[hub], **self._strict}",
        "pass",
        (f"{SYNCING}test_who_has_another_hub_now_appends_to_its_strict_streams",),
    ),
    Mutant(
        "what the hub has lost of what is wanted",
        "who is told that an append to a strict stream in the scope was made has its record",
        FORWARDING,
        "if line.scope.relation is None:\n            return False",
        "if line.scope.relation is None:\n            return True",
        (f"{ROUNDS}{LOST_BEFORE}[prefix]",),
    ),
    Mutant(
        "what the hub has lost of what may be wanted",
        "what has not come is outside of a relation only if the hub still has it",
        FORWARDING,
        "at = Mark(last.position, last.chain)",
        "at = None",
        (f"{ROUNDS}{LOST_BEFORE}[relation]",),
    ),
    Mutant(
        "released by another process",
        "what was set aside and is not any more comes before what is behind it in its stream",
        EDGE,
        "if await self._has_passed(found):",
        "if await self._has_passed(found) is None:",
        (f"{ROUNDS}test_what_another_process_has_released_comes_before_what_is_behind_it",),
    ),
    Mutant(
        "a late answer to a push",
        "where a record stands is told of the history that was asked about, and of no other",
        DECIDING,
        "if pushed.cursor != asked.cursor:",
        "if pushed.cursor is asked:",
        (f"{ROUNDS}test_a_late_answer_to_a_push_is_not_taken_for_one_of_the_history_of_today",),
    ),
    Mutant(
        "a late answer to an append",
        "that a hub still has what was appended is told of the history that was asked about",
        FORWARDING,
        "if made.at != request.at:",
        "if made is request:",
        (
            f"{ROUNDS}test_a_late_answer_to_an_append_says_nothing_of_another_history",
            f"{KILLER}[6000995..6000995]",
        ),
    ),
    Mutant(
        "in step where another process has passed",
        "who has nothing to keep looks whether the ledger still stands where it was told",
        EDGE,
        "            if await self._has_moved():\n                return False\n",
        "",
        (f"{ROUNDS}test_in_step_is_not_said_of_a_place_that_another_process_has_passed",),
    ),
    Mutant(
        "a retry of what is not given any more",
        "who repeats an append whose stream has left his scope is told that it was made",
        FORWARDING,
        "if found is None and not line.scope.whole:",
        "if found is line:",
        (
            f"{ROUNDS}test_a_retry_of_what_the_hub_has_and_does_not_give_any_more_is_no_conflict"
            "[made]",
            f"{KILLER}[8200487..8200487]",
        ),
    ),
    Mutant(
        "gone back once",
        "of two processes one goes back where a scope is another one, and the other one sees that",
        EDGE,
        "await self._keep(Rewind(asked.hub, epoch, asked.cursor, to, known))",
        "await self._keep(Rewind(asked.hub, epoch, asked.cursor, to))",
        (f"{ROUNDS}test_who_has_another_scope_goes_back_once_whichever_process_sees_it_first",),
    ),
    Mutant(
        "in step with a scope that has changed",
        "who has read a part of a scope as it was is not in step with what it is now",
        EDGE,
        "mixed = self._state is not None and self._state.scope == MIXED",
        "mixed = self._state is None",
        (f"{ROUNDS}test_who_has_read_a_scope_that_changed_meanwhile_is_not_in_step_with_it",),
    ),
    Mutant(
        "in step with what the hub has not",
        "who has something that the hub has not, and is not held, is not in step",
        EDGE,
        "found = await self._find(self._welcome.ledger, self._settled_here, 1)",
        "return not mixed",
        (f"{ROUNDS}test_who_has_something_that_was_released_in_the_end_is_not_in_step",),
    ),
]

KILLING_SEEDS = sorted(
    {
        test.removeprefix(f"{KILLER}[")[:-1]
        for each in SYNCHRONISING
        for test in each.killed_by
        if test.startswith(KILLER)
    }
)
"""As `FIRST..LAST`."""
