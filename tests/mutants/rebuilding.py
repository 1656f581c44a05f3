"""Mutants of rebuilds: who may still write, what is swapped with what, and what is never run."""

from __future__ import annotations

from tests.mutants.mutant import SQLITE_VIEWS, Mutant

TESTS = "tests/subscriptions/durable/test_rebuild.py::"
IN_POSTGRES = "tests/contract/checkpoints/test_postgres.py::TestPostgres::"
STATEMENTS = "adapters/postgres/checkpoint_statements.py"
ALL_SLICES = "test_a_swap_takes_all_slices_of_both"
OTHER_VERSION = "test_another_version_is_neither_registered_nor_claimed"
WITH_ALL = "test_one_takes_the_place_of_another_with_all_that_belongs_to_it"

REBUILDS = [
    Mutant(
        "the fences of a swap",
        "a swap is made by who holds both versions",
        "adapters/sqlite/bookkeeping.py",
        "if not expected or dict(connection.execute(schema.SELECT_FENCES, (each,))) != expected:",
        "if not expected:",
        (SQLITE_VIEWS + ALL_SLICES,),
    ),
    Mutant(
        "the fences of a swap in PostgreSQL",
        "a swap is made by who holds both versions",
        STATEMENTS,
        'f"WHERE l.name = %(before)s AND l.slice = f.slice AND l.fence = f.fence AND {_OURS} "',
        'f"WHERE l.name = %(before)s AND l.slice = f.slice AND {_OURS} "',
        (IN_POSTGRES + ALL_SLICES,),
    ),
    Mutant(
        "all slices of a swap in PostgreSQL",
        "a swap leaves no slice of another version behind",
        "adapters/postgres/checkpointing.py",
        "if not renamed or len(renamed) != renamed[0][0]:",
        "if not renamed:",
        (IN_POSTGRES + ALL_SLICES,),
    ),
    Mutant(
        "no claim of another version",
        "workers of a version that is not live any more stop",
        "adapters/sqlite/bookkeeping.py",
        "    _slices_of(connection, name, version)\n    values = ",
        "    values = ",
        (SQLITE_VIEWS + OTHER_VERSION,),
    ),
    Mutant(
        "no claim of another version in PostgreSQL",
        "workers of a version that is not live any more stop",
        STATEMENTS,
        "WHERE l.name = %(name)s AND c.version = %(version)s",
        "WHERE l.name = %(name)s AND %(version)s > 0",
        (IN_POSTGRES + OTHER_VERSION,),
    ),
    Mutant(
        "set aside with its version",
        "a record that failed in one version is not tried in another",
        "adapters/sqlite/bookkeeping.py",
        "        connection.execute(schema.RENAME_PARKED, values)\n",
        "",
        (
            SQLITE_VIEWS + WITH_ALL,
            TESTS + "test_records_that_were_set_aside_belong_to_their_version[sqlite]",
        ),
    ),
    Mutant(
        "as far as the live version",
        "nobody sees a read model go back in time by a swap",
        "subscriptions/rebuild.py",
        "position = max(held.position for held in live)",
        "position = 0 * max(held.position for held in live)",
        (TESTS + "test_what_the_live_version_has_shown_is_shown_after_the_swap",),
    ),
    Mutant(
        "one transaction for a swap",
        "what swap(tx) does stands with the swap, or not at all",
        "subscriptions/rebuild.py",
        "                await self._run_swap(transaction.tx)\n",
        "                async with self._at.transaction() as another:\n"
        "                    await self._run_swap(another.tx)\n",
        (TESTS + "test_a_swap_that_loses_its_slices_has_not_run_swap_either",),
    ),
    Mutant(
        "not begun again",
        "what was swapped in is not filled a second time from the beginning",
        "store/subscribing.py",
        "                await of_rebuild()\n",
        "                pass\n",
        (TESTS + "test_what_was_swapped_in_meanwhile_is_not_begun_again",),
    ),
    Mutant(
        "no once in a rebuild",
        "a rebuild has no effects",
        "store/subscribing.py",
        "without_once = of_rebuild is not None",
        "without_once = False",
        (TESTS + "test_a_rebuild_never_runs_a_once",),
    ),
    Mutant(
        "what is owed at a swap",
        "no effect is lost that lies between the two checkpoints of a swap",
        "subscriptions/rebuild.py",
        "                if owed.effects:\n",
        "                if owed.effects and not owed:\n",
        (
            "tests/subscriptions/durable/test_rebuild.py::"
            "test_what_lies_between_the_two_checkpoints_of_a_swap_is_owed_once[sqlite]",
        ),
    ),
]
