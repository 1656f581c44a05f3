"""Mutants of effects: what is owed, what is written down before a call, what a crash leaves."""

from __future__ import annotations

from tests.mutants.mutant import SQLITE_VIEWS, Mutant

CARRYING_OUT = "subscriptions/carrying_out.py"
OBLIGATIONS = "subscriptions/obligations.py"
PERFORMING = "subscriptions/performing.py"
SCHEMA = "adapters/sqlite/views_schema.py"
EFFECTS = "tests/subscriptions/durable/test_effects.py::"

EFFECTS_OF_SUBSCRIPTIONS = [
    Mutant(
        "what a crash leaves of an effect",
        "an effect that was begun by a worker that is gone is ambiguous, and not pending",
        SCHEMA,
        "UPDATE everlog_effects SET status = 'ambiguous', due = {_NOW}",
        "UPDATE everlog_effects SET status = 'pending', due = {_NOW}",
        (
            SQLITE_VIEWS + "test_what_was_begun_by_nobody_who_is_left_is_ambiguous",
            EFFECTS + "test_an_effect_left_begun_waits_for_a_person_and_holds_up_its_lane[sqlite]",
        ),
    ),
    Mutant(
        "the look at what was begun",
        "who claims a slice finds what was begun in it",
        PERFORMING,
        "count = await self._checkpoints.mark_ambiguous(",
        "count = 0 and await self._checkpoints.mark_ambiguous(",
        (EFFECTS + "test_an_effect_left_begun_is_called_again_if_its_receiver_knows_it[sqlite]",),
    ),
    Mutant(
        "the fence of an effect",
        "a worker that lost its lease writes nothing of an effect down",
        "adapters/sqlite/owing.py",
        "if slice is not None and not stands(connection, name, slice, fence):",
        "if slice is not None and slice < 0:",
        (SQLITE_VIEWS + "test_a_worker_that_lost_its_lease_changes_no_effect",),
    ),
    Mutant(
        "how an effect stood",
        "an effect changes only from how it stands",
        SCHEMA,
        "AND status = :before AND tries = :before_tries",
        "AND :before IS NOT NULL AND :before_tries IS NOT NULL",
        (
            SQLITE_VIEWS + "test_an_effect_changes_only_from_how_it_stands",
            EFFECTS
            + "test_a_worker_that_has_lost_its_slice_writes_nothing_of_an_effect_down[sqlite]",
        ),
    ),
    Mutant(
        "the calls of one's own",
        "a worker that has its slice back does not take its own calls for those of a dead one",
        SCHEMA,
        "AND {_UNFINISHED} AND (position || ' ' || handler) NOT IN",
        "AND {_UNFINISHED} OR (position || ' ' || handler) IN",
        (SQLITE_VIEWS + "test_what_was_begun_by_nobody_who_is_left_is_ambiguous",),
    ),
    Mutant(
        "the calls that go on",
        "who claims says which calls are its own",
        PERFORMING,
        "but=tuple(self._carrying_out.calling)",
        "but=()",
        (EFFECTS + "test_a_worker_that_has_its_slice_back_knows_how_its_own_call_ended[sqlite]",),
    ),
    Mutant(
        "the first of a lane",
        "effects of one handler and stream are carried out in order",
        PERFORMING,
        "            if not await self._carrying_out.carry_out(effect):",
        "            if not await self._carrying_out.carry_out(effect) and effect is None:",
        (
            EFFECTS
            + "test_what_fails_is_called_again_and_parked_and_holds_up_its_lane_alone[sqlite]",
        ),
    ),
    Mutant(
        "what is born here",
        "an event that was born elsewhere brings no effect",
        OBLIGATIONS,
        "elif record.hydrated or record.outdated:",
        "elif False:",
        (EFFECTS + "test_imported_outdated_and_replayed_events_call_nothing[sqlite]",),
    ),
    Mutant(
        "where an effect begins",
        "what was there before its handler calls nothing unless that was said",
        OBLIGATIONS,
        "if record.position > self._begins[each.name]",
        "if record.position > 0 * self._begins[each.name]",
        (EFFECTS + "test_what_was_there_before_is_called_only_if_that_is_said[sqlite-None]",),
    ),
    Mutant(
        "the outcome that is there",
        "events of an outcome are appended once, whatever is killed",
        CARRYING_OUT,
        "if await self._is_appended(handler, record, of):",
        "if await self._is_appended(handler, record, of) and not of:",
        (EFFECTS + "test_its_outcome_is_appended_once_with_the_record_as_its_cause[sqlite]",),
    ),
    Mutant(
        "the ids of an outcome",
        "events of an outcome are found again after a crash",
        "subscriptions/effects.py",
        "return str(uuid.uuid5(_OUTCOMES, json.dumps([subscription, handler, event, of, number])))",
        "return str(uuid.uuid4())",
        (EFFECTS + "test_its_outcome_is_appended_once_with_the_record_as_its_cause[sqlite]",),
    ),
    Mutant(
        "success before what follows it",
        "an effect that has happened is not called again by a failing on_success",
        CARRYING_OUT,
        'effect, before, tries, "succeeded", 0, result=text',
        'effect, before, tries, "retrying", 0, result=text',
        (EFFECTS + "test_an_on_success_that_fails_is_tried_again_without_the_effect[sqlite]",),
    ),
    Mutant(
        "a slice in which a call runs",
        "a slice is not given away in the middle of a call",
        PERFORMING,
        "return all(each != slice for each, _ in self._running.values())",
        "return True",
        (EFFECTS + "test_a_slice_is_not_left_while_an_effect_runs_in_it[sqlite]",),
    ),
    Mutant(
        "the end of an effect before the end of its worker",
        "who is stopped ends what it has begun",
        "subscriptions/worker.py",
        "                await self._performing.performed()",
        "                await asyncio.sleep(0)",
        (
            EFFECTS + "test_a_stopped_worker_ends_its_effects_"
            "and_a_cancelled_one_leaves_them_ambiguous[sqlite]",
        ),
    ),
    Mutant(
        "no silent default",
        "a handler says what becomes of it when nobody knows, or it is refused",
        OBLIGATIONS,
        "if said is None or said.on_ambiguous is None:",
        "if said is None:",
        (EFFECTS + "test_an_effect_has_to_say_what_becomes_of_it_when_nobody_knows[sqlite]",),
    ),
]
