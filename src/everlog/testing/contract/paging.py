"""The port's `read` and `fold_from`: pages that hold nothing, and together are one prefix."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from everlog.core.record import StoredRecord
from everlog.core.relation import Relate
from everlog.core.selection import Order, Page, Selection
from everlog.core.sequencer import Import
from everlog.core.snapshot import PutSnapshot, Snapshot
from everlog.ports.ledger import Ledger
from everlog.testing.contract.committing import KEY, append, new, place
from everlog.testing.contract.events import Noted, Renamed
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import Contract, Scene, contract_test, ids_of, rows_of

BY_CREATION = Selection(order=Order.CREATED)


async def pages_of(ledger: Ledger, selection: Selection, size: int) -> list[Page]:
    """Returns all pages of a selection."""
    pages = [await ledger.read(selection, size=size)]
    while pages[-1].cursor is not None:
        last = pages[-1]
        pages.append(await ledger.read(last.selection, cursor=last.cursor, size=size))
    return pages


async def shuffled(scene: Scene, count: int) -> list[StoredRecord]:
    """Fills a ledger with records that came in any order, and returns them by position."""
    chance = random.Random(count)  # noqa: S311 - a fixed arrival order, no secret
    for number in range(count):
        kind = Noted if number % 2 else Renamed
        if chance.random() < 0.3:
            scene.clock.advance(ms=chance.randrange(30))
            await scene.store.append(f"s{number % 4}", kind("born"))
        else:
            created = at(chance.randrange(200), chance.randrange(2))
            row = scene.store.past(f"s{number % 4}", kind("past"), created=created).stored
            await place(scene.ledger, Import((row,)))
    return await scene.rows()


def matching(rows: list[StoredRecord], selection: Selection) -> list[StoredRecord]:
    """Returns what the selection means, by a plain filter."""
    found = [
        row
        for row in rows
        if (selection.streams is None or row.stream in selection.streams)
        and row.stream.startswith(selection.prefix or "")
        and (selection.types is None or row.type in selection.types)
        and row.position > selection.after
        and (selection.until is None or row.position <= selection.until)
        and (selection.as_of is None or row.created <= selection.as_of)
    ]
    if selection.order is Order.CREATED:
        found.sort(key=lambda row: row.order)
    if selection.backwards:
        found.reverse()
    return found if selection.limit is None else found[: selection.limit]


SELECTIONS = {
    "all": Selection(),
    "stream": Selection(streams=("s1",)),
    "streams": Selection(streams=("s1", "s3", "nobody")),
    "prefix": Selection(prefix="s1"),
    "prefix and streams": Selection(prefix="s", streams=("s1", "s2", "t")),
    "types": Selection(types=("contract:noted",)),
    "between": Selection(after=11, until=47),
    "as of": Selection(as_of=at(100)),
    "much": Selection(
        streams=("s0", "s1"), types=("contract:noted", "t"), after=3, until=50, as_of=at(150)
    ),
    "none": Selection(streams=()),
}


PREFIXED = (
    "a", "ab", "aB", "A", "a%", "a%b", "a_b", "a-b", "a\\b", "a*", "a?b", "a[b]", "'a", "å", "ä",
    "ab\U0001f600", "ab\U0001f600c", "ab\U0001f601", "ab\uffff", "e\u0301", "\u00e9", "ß", "ss",
    "\U0010ffff", "\U0010ffffa",
)  # fmt: skip
"""Names of streams that begin alike, or would for a database that folds or has wildcards."""


class Paging(Contract):
    """`read` and `fold_from`."""

    @pytest.mark.parametrize("order", Order, ids=lambda order: order.value)
    @contract_test
    async def test_pages_of_every_size_together_are_the_selection(
        self, scene: Scene, order: Order
    ) -> None:
        rows = await shuffled(scene, 60)
        for name, base in SELECTIONS.items():
            for backwards in (False, True) if order is Order.POSITION else (False,):
                for limit in (None, 0, 1, 7):
                    selection = base._replace(order=order, backwards=backwards, limit=limit)
                    wanted = matching(rows, selection)
                    for size in (1, 2, 5, 59, 60, 61):
                        pages = await pages_of(scene.ledger, selection, size)
                        read = [row for page in pages for row in page.records]
                        assert read == wanted, (name, backwards, limit, size)
                        assert all(len(page.records) <= size for page in pages)

    @contract_test
    async def test_the_last_page_says_so(self, scene: Scene) -> None:
        await place(scene.ledger, append(*(new(f"{n}") for n in range(6))))
        for size, count in ((2, 3), (3, 2), (6, 1), (7, 1)):
            for selection in (Selection(), Selection(backwards=True), BY_CREATION):
                pages = await pages_of(scene.ledger, selection, size)
                assert len(pages) == count
        page = await scene.ledger.read(Selection(limit=4), size=4)
        assert page.cursor is None

    @pytest.mark.parametrize("order", Order, ids=lambda order: order.value)
    @contract_test
    async def test_a_first_page_fixes_the_end_and_the_streams_of_the_relation(
        self, scene: Scene, order: Order
    ) -> None:
        await place(scene.ledger, append(*(new(f"{n}", f"s{n % 2}") for n in range(8))))
        await scene.ledger.commit([Relate(add=(("r", "s1"),))])
        page = await scene.ledger.read(Selection(relation="r", order=order), size=2)
        assert page.selection.resolved
        assert (page.selection.until, page.selection.streams) == (8, ("s1",))
        await scene.ledger.commit([Relate(add=(("r", "s0"),))])
        late = scene.store.past("s1", Noted("late"), created=at(-1)).stored
        await place(scene.ledger, Import((late,)))
        await place(scene.ledger, append(new("later", "s1")))
        read = list(page.records)
        while page.cursor is not None:
            page = await scene.ledger.read(page.selection, cursor=page.cursor, size=2)
            read += page.records
        assert ids_of(read) == ["1", "3", "5", "7"]

    @pytest.mark.parametrize("order", Order, ids=lambda order: order.value)
    @contract_test
    async def test_a_prefix_is_taken_as_it_is_written_code_point_by_code_point(
        self, scene: Scene, order: Order
    ) -> None:
        await place(scene.ledger, append(*(new(f"{n}", s) for n, s in enumerate(PREFIXED))))
        prefixes = {name[:length] for name in PREFIXED for length in range(1, len(name) + 1)}
        for prefix in sorted(prefixes | {"%", "_", "*", "b", "AB", "é" * 100}):
            wanted = [name for name in PREFIXED if name.startswith(prefix)]
            for size in (1, 500):
                pages = await pages_of(scene.ledger, Selection(prefix=prefix, order=order), size)
                read = [row.stream for page in pages for row in page.records]
                assert sorted(read) == sorted(wanted), prefix

    @contract_test
    async def test_a_page_says_where_in_which_history_it_ends(self, scene: Scene) -> None:
        empty = (await scene.ledger.read(Selection())).selection
        assert (empty.until, empty.seen) == (0, None)
        rows = list((await place(scene.ledger, append(*(new(f"{n}") for n in range(6))))).records)
        for base in SELECTIONS.values():
            for until, limit, size in itertools.product((None, 4), (None, 0, 2), (2, 500)):
                selection = base._replace(until=until, limit=limit)
                page = await scene.ledger.read(selection, size=size)
                end = until or 6
                assert page.selection.until == end
                seen = page.selection.seen
                assert seen is not None
                identity = scene.ledger.identity
                assert (seen.ledger, seen.epoch) == (identity.ledger, identity.epoch)
                assert (seen.position, seen.chain) == (end, rows[end - 1].chain)

    @contract_test
    async def test_a_selection_of_streams_in_a_relation_is_of_both(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1", "a"), new("2", "b"), new("3", "c")))
        await scene.ledger.commit([Relate(add=(("r", "b"), ("r", "c")))])
        rows = await rows_of(scene.ledger, Selection(streams=("a", "b"), relation="r"))
        assert ids_of(rows) == ["2"]

    @contract_test
    async def test_a_cursor_is_good_for_ever(self, scene: Scene) -> None:
        rows = await shuffled(scene, 40)
        first = await scene.ledger.read(BY_CREATION, size=10)
        for number in range(30):
            late = scene.store.past("s1", Noted(number), created=at(-number)).stored
            await place(scene.ledger, Import((late,)))
        for _ in range(2):  # the same page again is the same
            page = await scene.ledger.read(first.selection, cursor=first.cursor, size=10)
            assert list(page.records) == sorted(rows, key=lambda row: row.order)[10:20]

    @contract_test
    async def test_a_fold_without_a_snapshot_begins_with_the_whole_selection(
        self, scene: Scene
    ) -> None:
        rows = await shuffled(scene, 30)
        for key in (None, KEY):
            start = await scene.ledger.fold_from(BY_CREATION, key, size=7)
            assert start.snapshot is None
            assert list(start.page.records) == sorted(rows, key=lambda row: row.order)[:7]
            assert start.page.selection.resolved

    @contract_test
    async def test_a_fold_goes_on_after_a_snapshot_that_holds(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}") for n in range(6))))
        kept = _snapshot(placed.records[3])
        await scene.ledger.commit([PutSnapshot(kept)])
        selection = Selection(streams=("a",), order=Order.CREATED)
        start = await scene.ledger.fold_from(selection, KEY)
        assert start.snapshot == kept
        assert ids_of(start.page.records) == ["4", "5"]
        start = await scene.ledger.fold_from(selection, None)
        assert start.snapshot is None
        assert len(start.page.records) == 6

    @contract_test
    async def test_a_snapshot_that_does_not_hold_is_not_given(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}") for n in range(6))))
        kept = _snapshot(placed.records[3])
        await scene.ledger.commit([PutSnapshot(kept)])
        selection = Selection(streams=("a",), order=Order.CREATED)
        for bounds in ({"until": 3}, {"as_of": placed.records[2].created}):
            start = await scene.ledger.fold_from(selection._replace(**bounds), KEY)
            assert (start.snapshot, ids_of(start.page.records)) == (None, ["0", "1", "2"])
        for bounds in ({"until": 4}, {"as_of": placed.records[3].created}):
            start = await scene.ledger.fold_from(selection._replace(**bounds), KEY)
            assert (start.snapshot, ids_of(start.page.records)) == (kept, [])
        elsewhere = scene.store.past("b", Noted("late"), created=at(-1)).stored
        await place(scene.ledger, Import((elsewhere,)))
        assert (await scene.ledger.fold_from(selection, KEY)).snapshot == kept
        before = placed.records[3].created
        late = scene.store.past("a", Noted("late"), created=before, id="2b").stored
        await place(scene.ledger, Import((late,)))
        start = await scene.ledger.fold_from(selection, KEY)
        assert start.snapshot is None
        assert ids_of(start.page.records) == ["0", "1", "2", "2b", "3", "4", "5"]

    @contract_test
    async def test_a_relations_snapshot_holds_for_its_membership_only(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("1", "a"), new("2", "b")))
        await scene.ledger.commit([Relate(add=(("r", "a"), ("r", "b")))])
        key = replace(KEY, scope="relation:r")
        selection = Selection(relation="r", order=Order.CREATED)
        revision = (await scene.ledger.fold_from(selection, key)).revision
        kept = replace(_snapshot(placed.records[1]), key=key, revision=revision)
        await scene.ledger.commit([PutSnapshot(kept)])
        start = await scene.ledger.fold_from(selection, key)
        assert (start.snapshot, start.revision) == (kept, revision)
        await scene.ledger.commit([Relate(remove=(("r", "b"),))])
        start = await scene.ledger.fold_from(selection, key)
        assert start.snapshot is None
        assert start.revision > revision
        assert ids_of(start.page.records) == ["1"]
        assert await scene.ledger.find_snapshot(key) == kept


def _snapshot(last: StoredRecord) -> Snapshot:
    return Snapshot(
        key=KEY,
        position=last.position,
        created=last.created,
        id=last.id,
        version=last.version,
        count=last.position,
        revision=0,
        state="null",
    )
