"""Resume tokens: who goes on with one reads the same history, or is told that it is another."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from everlog.core.record import Record
from everlog.core.selection import Order, Page, Selection
from everlog.core.token import ResumeToken, decode, encode
from everlog.errors import InvalidInput, InvalidToken, LogDiverged
from everlog.ports.ledger import Ledger
from everlog.store.event_store import EventStore
from everlog.testing.contract.events import Noted, Renamed
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import (
    Contract,
    Scene,
    contract_test,
    history,
    positions_of,
)


def imported(store: EventStore, name: str, count: int) -> list[Record[Any]]:
    """Returns records for any ledger: taken in in the same order they give the same chain."""
    return [
        store.past(f"s{number % 3}", Noted(number), created=at(number), id=f"{name} {number}")
        for number in range(count)
    ]


def as_if_of(ledger: Ledger, token: str) -> str:
    """Returns a token as the ledger itself would have given it, with the position and chain."""
    identity = ledger.identity
    return encode(decode(token)._replace(ledger=identity.ledger, epoch=identity.epoch))


def forged(token: str, **changes: Any) -> str:
    """Returns a token with other facts in it."""
    return encode(decode(token)._replace(**changes))


def others_than(seen: ResumeToken) -> dict[str, ResumeToken]:
    """Returns places that a log with nine records does not have, by what differs."""
    return {
        "ledger": seen._replace(ledger="f" * 32),
        "epoch": seen._replace(epoch="f" * 16, chain=bytes(32)),
        "end": seen._replace(position=10),
        "chain": seen._replace(chain=bytes(32)),
    }


async def first_pages(ledger: Ledger, selection: Selection) -> list[Page]:
    """Returns the first page of a selection, as each method of the port gives it."""
    if selection.order is Order.POSITION:
        return [await ledger.read(selection, size=1)]
    start = await ledger.fold_from(selection, None, size=1)
    return [start.page, await ledger.read(selection, size=1)]


async def diverged(reading: Awaitable[object]) -> tuple[int, str]:
    """Returns what a reader is told: where it was, and what is another."""
    with pytest.raises(LogDiverged) as caught:
        await reading
    return caught.value.position, caught.value.differs


class Resuming(Contract):
    """`store.token`, and `after=` a token."""

    @contract_test
    async def test_a_reader_goes_on_right_behind_the_record_of_its_token(
        self, scene: Scene
    ) -> None:
        records = await history(scene.store, 40, streams=3)
        read = await scene.store.read().to_list()
        for given in (records, read):  # what append returns, and what is read
            for record in given:
                token = scene.store.token(record)
                assert len(token) == 92
                assert token.isascii()
                rest = positions_of(await scene.store.read(after=token).to_list())
                assert rest == list(range(record.position + 1, 41))
        token = scene.store.token(records[9])
        several: Sequence[dict[str, Any]] = (
            {"stream": "s1"},
            {"streams": ["s0", "s2"]},
            {"types": [Renamed]},
            {"until": 30},
            {"limit": 3},
            {"backwards": True},
            {"as_of": records[20].created},
        )
        for options in several:
            by_position = await scene.store.read(after=10, **options).to_list()
            assert by_position, options
            assert await scene.store.read(after=token, **options).to_list() == by_position
            first = await scene.store.read(after=token, **options).first()
            assert first == by_position[0], options

    @contract_test
    async def test_the_token_of_the_head_gives_what_comes_after_it(self, scene: Scene) -> None:
        empty = (await scene.store.info()).token
        assert await scene.store.read(after=empty).to_list() == []
        records = await scene.store.append("a", Noted(1), Noted(2))
        head = (await scene.store.info()).token
        assert head == scene.store.token(records[-1])
        assert await scene.store.read(after=empty).to_list() == records
        assert await scene.store.read(after=head).to_list() == []
        later = await scene.store.append("a", Noted(3))
        assert await scene.store.read(after=head).to_list() == later

    @contract_test
    async def test_a_follower_with_tokens_sees_every_record_once(self, scene: Scene) -> None:
        token = (await scene.store.info()).token
        seen: list[int] = []
        for turn in range(12):
            await scene.store.append("a", *[Noted(turn)] * (1 + turn % 3))
            async for record in scene.store.read(after=token):
                seen.append(record.position)
                token = scene.store.token(record)
        assert seen == positions_of(await scene.rows())

    @contract_test
    async def test_a_token_is_good_after_the_store_was_opened_again(self, scene: Scene) -> None:
        records = await history(scene.store, 12)
        token = scene.store.token(records[6])
        store = await scene.reopen()
        if not scene.capabilities.durable:
            assert await diverged(store.read(after=token).to_list()) == (7, "ledger")
            return
        assert positions_of(await store.read(after=token).to_list()) == [8, 9, 10, 11, 12]
        assert store.token(records[6]) == token

    @contract_test
    async def test_a_token_is_refused_where_anything_of_it_is_another(self, scene: Scene) -> None:
        records = await history(scene.store, 8)
        token = scene.store.token(records[4])
        head = (await scene.store.info()).token
        other = await scene.elsewhere()
        await history(other, 8)
        wrong = {
            "ledger": [forged(token, ledger="f" * 32), (await other.info()).token],
            "epoch": [
                forged(token, epoch="f" * 16, position=9),
                forged(head, epoch="0" * 16, chain=bytes(32)),
            ],
            "end": [forged(token, position=9), forged(head, position=2**63 - 1)],
            "chain": [
                forged(token, chain=bytes(32)),
                forged(token, position=4),
                forged(token, position=0),
                forged(head, chain=decode(token).chain),
            ],
        }
        several: Sequence[dict[str, Any]] = (
            {},
            {"stream": "nobody"},
            {"limit": 0},
            {"backwards": True},
        )
        for differs, tokens in wrong.items():
            for each in tokens:
                position = decode(each).position
                for options in several:
                    reading = scene.store.read(after=each, **options)
                    assert await diverged(reading.to_list()) == (position, differs)
                    assert await diverged(reading.first()) == (position, differs)
                assert await diverged(scene.store.wait(after=each, timeout_s=0)) == (
                    position,
                    differs,
                )

    @contract_test
    async def test_a_token_of_the_epoch_before_is_good_where_the_log_has_its_place(
        self, scene: Scene
    ) -> None:
        records = await history(scene.store, 8)
        token = scene.store.token(records[4])
        epoch = await scene.store.begin_epoch()
        assert decode((await scene.store.info()).token).epoch == epoch != decode(token).epoch
        for size in (1, 500):
            seen = Selection(after=5, seen=decode(token))
            page = await scene.ledger.read(seen, size=size)
            assert page.records[0].position == 6
            while page.cursor is not None:
                page = await scene.ledger.read(page.selection, cursor=page.cursor, size=size)
            assert page.records[-1].position == 8
        assert positions_of(await scene.store.read(after=token).to_list()) == [6, 7, 8]
        assert await scene.store.wait(after=token, timeout_s=0) == 8

    @contract_test
    async def test_a_log_that_lost_its_tail_is_read_on_where_it_agrees_and_nowhere_else(
        self, scene: Scene
    ) -> None:
        prefix, lost, put_in_place = 9, 5, 7
        other = await scene.elsewhere()
        common = imported(scene.store, "common", prefix)
        for store in (scene.store, other):
            await store.import_records(common)
        await scene.store.import_records(imported(scene.store, "lost", lost))
        read = await scene.store.read().to_list()
        tokens = [as_if_of(other.ledger, scene.store.token(record)) for record in read]

        async def resumed() -> None:
            there = await other.read().to_list()
            for record, token in zip(read, tokens, strict=True):
                if record.position <= prefix:
                    rest = await other.read(after=token).to_list()
                    assert rest == there[record.position :]
                else:
                    differs = "end" if record.position > len(there) else "chain"
                    found = await diverged(other.read(after=token).to_list())
                    assert found == (record.position, differs)

        await resumed()  # when the tail is gone
        for record in imported(scene.store, "instead", put_in_place):  # and while another grows
            await other.import_records([record])
            await resumed()
        # By its position alone the reader would have been given nothing of what it missed.
        by_position = await other.read(after=read[-1].position).to_list()
        assert len(by_position) == put_in_place - lost

    @contract_test
    async def test_a_restored_backup_is_read_on_where_it_agrees_and_nowhere_else(
        self, scene: Scene
    ) -> None:
        if not scene.capabilities.backup:
            return
        kept = await history(scene.store, 6)
        await scene.store.backup(str(scene.folder / "copy"))
        lost = await history(scene.store, 4)
        restored = await scene.elsewhere("copy")
        assert await diverged(restored.read(after=scene.store.token(lost[0])).to_list()) == (
            7,
            "end",
        )
        await history(restored, 5)
        for record in lost:
            token = scene.store.token(record)
            assert await diverged(restored.read(after=token).to_list()) == (
                record.position,
                "chain",
            )
        for record in kept:
            rest = await restored.read(after=scene.store.token(record)).to_list()
            assert positions_of(rest) == list(range(record.position + 1, 12))

    @pytest.mark.parametrize("order", Order, ids=lambda order: order.value)
    @contract_test
    async def test_the_pages_of_one_reading_are_never_of_two_histories(
        self, scene: Scene, order: Order
    ) -> None:
        await history(scene.store, 9, streams=2)
        ledger = scene.ledger
        selections: Sequence[Selection] = (
            Selection(order=order),
            Selection(order=order, until=7),
            Selection(order=order, until=99),
            Selection(order=order, streams=("s0", "s1")),
            Selection(order=order, types=("contract:noted",), after=2),
        )
        for selection in selections:
            for page in await first_pages(ledger, selection):
                assert page.cursor is not None
                seen = page.selection.seen
                assert seen is not None
                assert seen.position == page.selection.until
                await ledger.read(page.selection, cursor=page.cursor, size=1)
                for differs, another in others_than(seen).items():
                    gone_over = page.selection._replace(seen=another)
                    turning = ledger.read(gone_over, cursor=page.cursor, size=1)
                    assert await diverged(turning) == (another.position, differs)
                    begun = selection._replace(seen=another)
                    for beginning in first_pages(ledger, begun), ledger.read(begun, size=1):
                        assert await diverged(beginning) == (another.position, differs)

    @contract_test
    async def test_what_is_not_stored_has_no_token(self, scene: Scene) -> None:
        past = scene.store.past("a", Noted(1), created=at(1))
        with pytest.raises(InvalidInput, match="not stored"):
            scene.store.token(past)

    @pytest.mark.parametrize("text", ["", "17", "A" * 92, "é" * 92, "+/" * 46, "a b", "\0"])
    @contract_test
    async def test_text_that_is_no_token_is_refused_before_anything_is_read(
        self, scene: Scene, text: str
    ) -> None:
        with pytest.raises(InvalidToken):
            scene.store.read(after=text)
        with pytest.raises(InvalidToken):
            await scene.store.wait(after=text, timeout_s=0)
