"""What a token is not good for ends in a state that the status shows, with nothing lost."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.errors import NotAllowed, NotAuthenticated
from everlog.server import Pattern, TokenFile
from tests.client.hubs import serving
from tests.client.running import run
from tests.client.test_syncing import PATIENCE_S, SECRET, at, ids, memory, until
from tests.store.watched import Noted

ALL = [Pattern()]


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


async def for_ever(store: EventStore) -> None:
    """Appends until that is refused."""
    while True:
        await store.append("a", Noted(2))


def token_file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.mark.parametrize("token", [None, "evl_0123456789abcdef_of-another-hub", "nonsense"])
def test_who_has_no_token_of_the_hub_waits_with_all_that_it_has(
    tmp_path: Path, token: str | None
) -> None:
    async def main() -> None:
        tokens = token_file(tmp_path)
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            await one.append("a", Noted(1))
            async with one.sync(there.url, token=token) as sync:
                status = await until(sync, lambda status: status.tries >= 2)
                assert status.error.startswith("NotAuthenticated: "), status.error
                assert (status.in_step, status.hub) == (False, None)
                await one.append("a", Noted(2))
            with pytest.raises(NotAuthenticated):
                await one.sync(there.url, token=token).once()
            assert await ids(hub) == []
            good = tokens.create("one", pull=ALL, push=ALL)
            assert (await one.sync(there.url, token=good).once()).pushed == 2

    run(main)


@pytest.mark.parametrize("how", ["expires", "is revoked"])
def test_a_token_that_ends_while_it_is_used_is_noticed(tmp_path: Path, how: str) -> None:
    async def main() -> None:
        tokens, clock = token_file(tmp_path), Clock()
        async with (
            await memory(clock=clock) as hub,
            await memory() as one,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            expires_ms = clock() + 3_600_000 if how == "expires" else None
            token = tokens.create("one", pull=ALL, push=ALL, expires_ms=expires_ms)
            async with one.sync(there.url, token=token) as sync:
                await sync.in_step(timeout_s=PATIENCE_S)
                await hub.append("a", Noted(1))
                await sync.in_step(timeout_s=PATIENCE_S)
                if how == "expires":
                    clock.ahead_ms = 3_700_000
                else:
                    tokens.revoke("one")
                await one.append("b", Noted(2))
                status = await until(sync, lambda status: status.error != "")
                assert "NotAuthenticated: token 'one' has expired or was revoked" in status.error
                assert status.hub == hub.ledger.identity.ledger
            clock.ahead_ms = 0
            ledger = one.ledger.identity.ledger
            again = tokens.create("one again", pull=ALL, push=ALL, ledger=ledger)
            done = await one.sync(there.url, token=again).once()
            assert (done.pushed, done.in_step) == (1, True)
            assert await ids(one) == await ids(hub)

    run(main)


def test_a_token_of_another_ledger_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        tokens = token_file(tmp_path)
        async with (
            await memory() as hub,
            await memory() as one,
            await memory() as two,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            token = tokens.create("one", pull=ALL, push=ALL)
            await one.sync(there.url, token=token).once()
            async with two.sync(there.url, token=token) as sync:
                status = await until(sync, lambda status: status.tries >= 2)
                assert "NotAllowed: token 'one' belongs to another ledger" in status.error
            with pytest.raises(NotAllowed):
                await two.sync(there.url, token=token).once()

    run(main)


def test_what_is_pushed_outside_of_the_scope_is_held_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        tokens = token_file(tmp_path)
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            token = tokens.create("one", pull=ALL, push=[Pattern(prefix="order-")])
            await one.append("user-1", Noted(1), ids=["u1"])
            await one.append("user-1", Noted(2), ids=["u2"])
            await one.append("order-1", Noted(3), ids=["o1"])
            async with one.sync(there.url, token=token) as sync:
                await sync.in_step(timeout_s=PATIENCE_S)
                [held] = (await sync.status()).held
                assert (held.id, held.stream) == ("u1", "user-1")
                assert held.verdict in ("out_of_scope", "rejected")
                assert await ids(hub) == ["o1"]
                await one.append("order-1", Noted(4), ids=["o2"])
                await sync.in_step(timeout_s=PATIENCE_S)
                assert await ids(hub) == ["o1", "o2"]
            tokens.revoke("one")
            ledger = one.ledger.identity.ledger
            wide = tokens.create("wide", pull=ALL, push=ALL, ledger=ledger)
            async with one.sync(there.url, token=wide) as sync:
                await sync.in_step(timeout_s=PATIENCE_S)
                assert await sync.release() == 1
                await sync.in_step(timeout_s=PATIENCE_S)
                assert (await sync.status()).held == ()
            assert await ids(hub) == await ids(one) == ["o1", "o2", "u1", "u2"]

    run(main)


def test_what_may_not_be_read_does_not_come(tmp_path: Path) -> None:
    async def main() -> None:
        tokens = token_file(tmp_path)
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            await hub.append("order-1", Noted(1), ids=["o1"])
            await hub.append("user-1", Noted(2), ids=["u1"])
            token = tokens.create("one", pull=[Pattern(prefix="order-")], push=ALL)
            with pytest.raises(NotAllowed):
                await one.sync(there.url, token=token).once()
            assert (await one.sync(there.url, token=token, prefix="order-").once()).new == 1
            assert await ids(one) == ["o1"]
            async with EventStore.open(there.url, token=token, events=[Noted]) as far:
                assert [record.id async for record in far.read(prefix="order-")] == ["o1"]
                with pytest.raises(NotAllowed):
                    await far.read().to_list()

    run(main)


def test_no_log_error_or_repr_has_a_token_that_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    kept: list[str] = []

    async def main() -> None:
        tokens = token_file(tmp_path)
        token = tokens.create("one", pull=ALL, push=ALL)
        kept.append(token)
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub, tokens=tokens, secret=SECRET) as there,
        ):
            async with EventStore.open(at(there.port), token=token, events=[Noted]) as far:
                await far.append("a", Noted(1))
                shown.extend([repr(far), repr(far.ledger), repr(far.ledger.__dict__)])
                tokens.revoke("one")
                with pytest.raises(NotAuthenticated) as caught:
                    await for_ever(far)
                shown.extend([repr(caught.value), str(caught.value)])
            async with one.sync(at(there.port), token=token) as sync:
                status = await until(sync, lambda status: status.tries >= 2)
                shown.extend([repr(status), repr(sync)])

    with caplog.at_level(logging.DEBUG):
        run(main)
    said = [*shown, *(record.getMessage() for record in caplog.records)]
    assert any("HTTP" in each for each in said)
    assert not [each for each in said if kept[0] in each or kept[0][-20:] in each]
