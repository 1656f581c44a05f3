"""Given, when, then: tests of reducers, aggregates and projectors, without a store.

Run it as it is, or with pytest.
"""

import asyncio
from datetime import UTC, datetime

from aggregates import User
from events import Auditor, EmailSet, GivenNameSet, UserActivated, UserCreated
from projectors import count, emails, project_email, projector, welcome
from reducers import UserState, user_reducer

from everlog import EventStore, EventValidationError
from everlog.testing import FakeClock, record_of, scenario


def test_a_user_has_the_last_name_that_was_given() -> None:
    scenario(user_reducer).given(
        UserCreated(email="a@b.c"), GivenNameSet("Jane"), UserActivated()
    ).then(UserState(given="Jane", email="a@b.c", active=True))


def test_a_name_that_comes_late_changes_nothing() -> None:
    scenario(user_reducer).given(GivenNameSet("Jane")).given(
        GivenNameSet("Jan"), created=datetime(2020, 1, 1, tzinfo=UTC)
    ).then(UserState(given="Jane"))


def test_an_email_address_is_set() -> None:
    scenario(User).given(UserCreated(email="a@b.c")).when(
        lambda user: user.set_email("x@y.z", "me")
    ).then_events(EmailSet("x@y.z"), meta=Auditor(auditor="me")).then_state(email="x@y.z")


def test_meta_is_asked_for() -> None:
    scenario(User).when(lambda user: user.push(EmailSet("x@y.z"))).then_raises(
        EventValidationError, match="pass meta=Auditor"
    ).then_events()


def test_only_new_users_are_welcomed() -> None:
    scenario(projector).when(UserCreated(email="a@b.c")).then_called(welcome, count)
    scenario(projector).when(UserCreated(email="a@b.c"), hydrated=True).then_called(count)


def test_the_read_model_keeps_the_latest_address() -> None:
    newest = record_of(EmailSet("new@b.c"), stream="user-7")
    late = record_of(EmailSet("old@b.c"), stream="user-7", version=2, hydrated=True, outdated=True)
    scenario(projector).when(newest, late).then_called(project_email)
    assert emails["user-7"] == "new@b.c"


def test_the_clock_is_in_your_hand() -> None:
    async def run() -> None:
        clock = FakeClock(datetime(2026, 1, 31, 12, tzinfo=UTC))
        async with EventStore.open("memory:", events=[UserCreated], clock=clock) as store:
            clock.advance(seconds=90)
            event, meta = UserCreated(email="a@b.c"), Auditor(auditor="me")
            [record] = await store.append("user-1", event, meta=meta)
            assert record.created_at == datetime(2026, 1, 31, 12, 1, 30, tzinfo=UTC)

    asyncio.run(run())


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok:", name.removeprefix("test_").replace("_", " "))
