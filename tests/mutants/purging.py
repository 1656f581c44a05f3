"""Mutants of what goes, as it is outside of a scope, and of what comes again."""

from __future__ import annotations

from tests.mutants.mutant import MEMORY, POSTGRES, SQLITE, SQLITE_VIEWS, Mutant
from tests.mutants.synchronising import RELATED, SCOPED

EDGE = "sync/edge.py"
SYNC = "tests/sync/test_purging.py::"

_NO_READ = "test_no_read_has_what_is_left_of_it"
_WITH_IT = "test_with_it_go_the_snapshots_that_may_have_it"
_ABOVE = "test_nothing_goes_above_the_stable_position"
_BACK = "test_content_that_is_given_again_is_back_in_its_place"
_WITHOUT = "test_with_content_that_comes_again_go_the_snapshots_without_it"
_HELD_UP = "test_what_is_held_up_is_needed_and_traces_are_not"
_EFFECTS = "test_what_an_unfinished_effect_is_of_is_needed"

PURGING = [
    Mutant(
        "purge before stable",
        "an edge lets go of what no fail-over of its hub can lose",
        EDGE,
        "stable = min(self._stable, at.position)",
        "stable = at.position",
        (*RELATED, SYNC + _ABOVE + "_of_the_hub"),
    ),
    Mutant(
        "the stable position in a ledger",
        "a ledger lets go of nothing above the stable position",
        "adapters/memory/upstreams.py",
        "(entry.position or 2**63) <= request.stable",
        "entry.position",
        (MEMORY + _ABOVE,),
    ),
    Mutant(
        "the stable position in a file",
        "a ledger lets go of nothing above the stable position",
        "adapters/sqlite/schema.py",
        "WHERE e.outside = 1 AND e.position <= ?",
        "WHERE e.outside = 1 AND ? > 0",
        (SQLITE + _ABOVE,),
    ),
    Mutant(
        "the stable position in PostgreSQL",
        "a ledger lets go of nothing above the stable position",
        "adapters/postgres/schema.py",
        "AND outside = 1 AND position <= %(stable)s ",
        "AND outside = 1 AND 0 < %(stable)s ",
        (POSTGRES + _ABOVE,),
    ),
    Mutant(
        "what a hub calls stable",
        "a hub calls no more stable than it was told",
        "sync/hub.py",
        "head if stable is None else min(stable, head),\n        )\n",
        "head,\n        )\n",
        (SYNC + _ABOVE + "_of_the_hub",),
    ),
    Mutant(
        "purge while it is needed",
        "what a subscription has yet to deal with stays",
        EDGE,
        "set[int]() if self._needed is None else {*await self._needed(here)}",
        "set[int]()",
        (*SCOPED, SYNC + "test_what_a_subscription_has_not_passed_stays[memory]"),
    ),
    Mutant(
        "what is held up is needed in a file",
        "what is set aside stays until it was dealt with",
        "adapters/sqlite/views_schema.py",
        "AND h.position = p.value AND h.status IN",
        "AND 0 AND h.status IN",
        (SQLITE_VIEWS + _HELD_UP,),
    ),
    Mutant(
        "what effects are owed for is needed in PostgreSQL",
        "what an effect is owed for stays until that is done",
        "adapters/postgres/checkpoint_statements.py",
        'f"AND e.{_UNFINISHED})))"',
        'f"AND false AND e.{_UNFINISHED})))"',
        ("tests/contract/checkpoints/test_postgres.py::TestPostgres::" + _EFFECTS,),
    ),
    Mutant(
        "others may need it",
        "nothing goes that another hub, or an edge of this ledger, may need",
        "core/taking.py",
        "    if others:\n",
        "    if not purge.upstream:\n",
        (
            MEMORY + "test_nothing_goes_that_another_upstream_may_need",
            MEMORY + "test_nothing_goes_that_edges_of_this_ledger_may_need",
        ),
    ),
    Mutant(
        "a hub has all content",
        "a ledger of which a part went does not speak as a hub",
        "sync/hub.py",
        "        if position is not None:\n            raise NotSupported(",
        "        if position == 0:\n            raise NotSupported(",
        (SYNC + "test_a_ledger_of_which_a_part_went_is_no_hub[memory]",),
    ),
    Mutant(
        "out of a scope that is whole",
        "nothing goes on the word of a hub that contradicts the scope",
        "sync/deciding.py",
        'if each.verdict == "out_of_scope" and scope.has(offer.record):',
        "if not each.verdict and scope.has(offer.record):",
        (SYNC + "test_nothing_goes_on_the_word_of_a_hub_that_contradicts_the_scope",),
    ),
    Mutant(
        "reads of what went",
        "no read has what is left of a record",
        "adapters/memory/reading.py",
        "(tombstones or not record.is_tombstone)",
        "(tombstones or record.id)",
        (MEMORY + _NO_READ,),
    ),
    Mutant(
        "reads of what went in PostgreSQL",
        "no read has what is left of a record",
        "adapters/postgres/schema.py",
        'WITH_CONTENT = " AND data IS NOT NULL"',
        'WITH_CONTENT = ""',
        (POSTGRES + _NO_READ,),
    ),
    Mutant(
        "what went is not offered",
        "a hub is offered nothing without its content",
        "adapters/memory/upstreams.py",
        "if tables.unfolded.get(record.id) is not None or record.is_tombstone:",
        "if tables.unfolded.get(record.id) is not None:",
        (MEMORY + _BACK,),
    ),
    Mutant(
        "snapshots of what went",
        "with the content go the states that may have it",
        "adapters/memory/upstreams.py",
        "if here and snapshot.position >= first:",
        "if not here and snapshot.position >= first:",
        (MEMORY + _WITH_IT, MEMORY + _WITHOUT),
    ),
    Mutant(
        "snapshots of what went in a file",
        "with the content go the states that may have it",
        "adapters/sqlite/writing.py",
        "            self._drop_snapshots_with(gone)\n",
        "",
        (SQLITE + _WITH_IT,),
    ),
    Mutant(
        "snapshots of what went in PostgreSQL",
        "with the content go the states that may have it",
        "adapters/postgres/upstreams.py",
        "    yield from drop_snapshots_with([(position, stream) for position, stream in gone])\n",
        "",
        (POSTGRES + _WITH_IT,),
    ),
    Mutant(
        "snapshots that come late",
        "no state is stored afterwards that was folded from what went meanwhile",
        "adapters/sqlite/writing.py",
        'elif kind == "stream" and first_tombstone(self._connection, name) is not None:',
        'elif kind == "stream" and not name:',
        (SQLITE + _WITH_IT,),
    ),
    Mutant(
        "refill with another content",
        "a tombstone takes no other content than that of its hash",
        "core/sequencer.py",
        "elif present.hash == record.hash:\n                judged",
        "elif present.hash == record.hash or present.is_tombstone:\n                judged",
        (MEMORY + "test_another_content_of_its_id_is_not_taken_for_it",),
    ),
    Mutant(
        "what comes again is no news",
        "who had a record before its content went is not handed it again",
        "core/sequencer.py",
        "        return Taken(tuple(judged), tuple(arrivals.rows))\n",
        "        return Taken(tuple(judged), (*arrivals.rows, *refilled.values()))\n",
        (MEMORY + _BACK,),
    ),
    Mutant(
        "a retry of what went",
        "an append of an id whose content went is still a retry",
        "core/sequencer.py",
        "names[:3] if record.is_tombstone else names",
        "names",
        (MEMORY + "test_an_append_of_its_id_is_still_a_retry",),
    ),
    Mutant(
        "folds of what is left",
        "a stream of which a part went is not folded",
        "store/folding.py",
        "        if position is not None:\n            raise ContentGone",
        "        if position == 0:\n            raise ContentGone",
        (SYNC + "test_a_stream_of_which_a_part_went_is_not_folded[memory]",),
    ),
    Mutant(
        "what went is overwritten",
        "of what went nothing is left in the file",
        "adapters/sqlite/writing.py",
        "connection.execute(schema.SECURE_DELETE_TO[1]).fetchone()",
        "connection.execute(schema.SECURE_DELETE_TO[0]).fetchone()",
        (SYNC + "test_of_what_went_nothing_is_left_in_the_file",),
    ),
    Mutant(
        "what was never let go",
        "content that is missing, and was not let go, is damage",
        "adapters/sqlite/reading.py",
        "        _check_tombstones,\n",
        "",
        (
            "tests/adapters/test_checking_tombstones.py::"
            "test_content_that_is_missing_and_was_not_let_go_is_told[sqlite]",
        ),
    ),
    Mutant(
        "all records of an event go",
        "with a record goes whatever it has replaced",
        "adapters/memory/upstreams.py",
        "found += [other for other in replaced.get(id, ()) if other not in found]",
        "found += [other for other in replaced.get(id, ()) if id == other]",
        (
            MEMORY + "test_what_was_stamped_anew_goes_with_what_has_its_place",
            MEMORY + "test_what_was_stamped_anew_twice_goes_with_both",
        ),
    ),
    Mutant(
        "each let go in its own name",
        "what was let go is told from what is missing, whatever has its place by then",
        "adapters/sqlite/schema.py",
        '"WHERE true ON CONFLICT (upstream, id) DO UPDATE SET outside = 2"',
        '"WHERE r.id IN (SELECT value FROM json_each(?1)) "\n'
        '    "ON CONFLICT (upstream, id) DO UPDATE SET outside = 2"',
        (SQLITE + "test_an_older_record_of_an_event_that_went_counts_once",),
    ),
    Mutant(
        "what is noted once more",
        "what was let go is known as that, whatever is heard of it afterwards",
        "adapters/postgres/schema.py",
        "excluded.outside * greatest(e.outside, 1)",
        "excluded.outside",
        (POSTGRES + "test_what_is_noted_once_more_has_been_let_go_still",),
    ),
    Mutant(
        "folds of before and afterwards",
        "what was folded before content went, or came again, is not stored after it",
        "adapters/memory/upstreams.py",
        "    tables.unfoldings += 1  # for those snapshots that are on their way\n",
        "",
        (MEMORY + "test_what_was_folded_before_content_went_or_came_is_not_stored_after_it",),
    ),
    Mutant(
        "half of a tombstone",
        "a record of which only a part is missing is damaged",
        "store/verifying.py",
        "if record == tombstone_of(record):",
        "if record.is_tombstone:",
        (
            MEMORY + "test_a_change_of_a_record_is_found[erased]",
            MEMORY + "test_a_change_of_a_record_is_found[half of a tombstone]",
        ),
    ),
]
