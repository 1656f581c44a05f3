"""Given, when, then: each assertion holds where it should, and fails where it should."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from everlog import (
    EventStore,
    EventValidationError,
    InvalidInput,
    NotPortable,
    Projector,
    Record,
    UnknownEvent,
    reducer,
)
from everlog.errors import HandlerFailed, NaiveDatetime, UnsavedEvents
from everlog.testing import AggregateScenario, FakeClock, record_of, scenario
from tests.testing.events import (
    Account,
    Auditor,
    Closed,
    Effects,
    NotAllowed,
    Opened,
    Renamed,
    Reopened,
    State,
    fold,
)

PAST = datetime(2020, 1, 1, tzinfo=UTC)
ME = Auditor(auditor="me")


# --- reducers -----------------------------------------------------------------------------------


def test_a_state_is_folded_from_what_was_given() -> None:
    told = scenario(fold).given(Opened(owner="jane"), Renamed("janet"))
    told.then(State("janet", ["opened", "renamed"])).then(State("janet", ["opened", "renamed"]))
    told.given(Closed()).then(State("janet", ["opened", "renamed", "closed"]))


def test_without_events_there_is_no_state() -> None:
    scenario(fold).then(None)
    with pytest.raises(AssertionError, match="no events"):
        scenario(fold).then(State())


def test_another_state_fails_and_shows_the_field_that_differs() -> None:
    with pytest.raises(AssertionError) as caught:
        scenario(fold).given(Opened(owner="jane")).then(State("john", ["opened"]))
    message = str(caught.value)
    assert "'state' folds opened to another state" in message
    assert "-     owner='john'," in message
    assert "+     owner='jane'," in message
    assert "      seen=['opened']," in message.splitlines()[-2]


def test_events_are_folded_in_the_order_of_their_creation_and_not_of_their_arrival() -> None:
    told = scenario(fold).given(Renamed("new")).given(Opened(owner="old"), created=PAST)
    told.then(State("new", ["opened", "renamed"]))
    with pytest.raises(AssertionError):
        told.then(State("old", ["renamed", "opened"]))


def test_events_of_one_moment_keep_the_order_in_which_they_are_told() -> None:
    names = [f"name {number}" for number in range(12)]
    told = scenario(fold).given(*(Renamed(name) for name in names), created=PAST)
    told.then(State("name 11", ["renamed"] * 12))


def test_states_without_an_equality_of_their_own_are_compared_by_their_attributes() -> None:
    class Plain:
        def __init__(self, count: int = 0) -> None:
            self.count = count

    @reducer("plain", initial=Plain)
    def plain(state: Plain, record: Record) -> Plain:
        return Plain(state.count + 1)

    scenario(plain).given(Closed(), Closed()).then(Plain(2))
    with pytest.raises(AssertionError, match=r"count=3"):
        scenario(plain).given(Closed(), Closed()).then(Plain(3))


def test_what_an_append_would_refuse_cannot_be_given() -> None:
    with pytest.raises(EventValidationError, match=r"data\.owner"):
        scenario(fold).given(Opened.model_construct(owner=7))
    with pytest.raises(NotPortable):
        scenario(fold).given(Renamed("\ud800"))
    with pytest.raises(UnknownEvent):
        scenario(fold).given(State())
    with pytest.raises(NaiveDatetime):
        scenario(fold).given(Closed(), created=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


def test_records_say_what_was_given() -> None:
    told = (
        scenario(fold, stream="a")
        .given(Opened(owner="jane"), meta=ME)
        .given(Closed(), stream="b", hydrated=True)
        .given(record_of(Renamed("x"), stream="a", version=2, created=PAST))
        .given(Renamed("y"))
    )
    records = told.records
    assert [(r.stream, r.version) for r in records] == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert [r.hydrated for r in records] == [False, True, False, False]
    assert records[0].meta == ME
    assert records == scenario(fold, stream="a").given(*records).records
    assert len({record.id for record in records}) == 4


def test_a_late_event_is_hydrated_and_outdated_unless_said_otherwise() -> None:
    told = scenario(fold).given(Reopened())
    told.given(Closed(), created=PAST).given(Renamed("x"), created=PAST)
    told.given(Closed(), created=PAST, hydrated=False, outdated=False)
    told.given(Closed(), outdated=True)
    flags = [(record.hydrated, record.outdated) for record in told.records]
    assert flags == [(False, False), (True, True), (True, False), (False, False), (False, True)]


def test_a_late_event_does_not_make_way_for_a_later_one_that_is_late_too() -> None:
    told = scenario(fold).given(Reopened()).given(Closed(), created=PAST)
    told.given(Closed(), created=PAST + timedelta(days=1))
    assert [record.outdated for record in told.records] == [False, True, True]


def test_versions_and_flags_are_those_that_a_store_gives(rng: random.Random) -> None:
    events = [Renamed("x"), Renamed("y"), Closed(), Reopened()]

    async def compare() -> None:
        clock, told = FakeClock(), scenario(fold)
        async with EventStore.open(
            "memory:", events=[Renamed, Closed, Reopened], clock=clock, max_offset_s=1e9
        ) as store:
            moment = clock.now
            for turn in range(60):
                moment += timedelta(seconds=rng.choice([1, 5, 50]))
                late = moment - timedelta(seconds=rng.randrange(200))
                created = rng.choice([None, late, moment])
                said, stream = rng.choice(events), rng.choice("ab")
                if turn % 6 == 5:  # before the one of its register that has just come: outdated
                    last = told.records[-1]
                    said, stream = last.data, last.stream
                    created = last.created_at - timedelta(seconds=1)
                told.given(said, stream=stream, created=created)
                record = told.records[-1]
                if record.hydrated:
                    await store.import_records([record])
                else:
                    clock.set(record.created_at)
                    await store.append(record.stream, record.data, ids=[record.id])
            stored = await store.read().to_list()
            facts = [(r.id, r.position, r.version, r.hydrated, r.outdated) for r in stored]
            assert facts == [
                (r.id, r.position, r.version, r.hydrated, r.outdated) for r in told.records
            ]
            assert sum(record.outdated for record in stored) >= 10
            for stream in "ab":
                alone = scenario(fold).given(*(r for r in told.records if r.stream == stream))
                state = await store.reduce(fold, stream)
                alone.then(state)

    asyncio.run(compare())


# --- aggregates ---------------------------------------------------------------------------------


def opened() -> AggregateScenario[Account]:
    return scenario(Account).given(Opened(owner="jane"))


def test_a_method_is_judged_by_the_events_that_it_pushes() -> None:
    told = scenario(Account).given(Opened(owner="jane")).when(lambda a: a.rename("janet"))
    told.then_events(Renamed("janet")).then_state(owner="janet", is_open=True)
    scenario(Account).when(lambda a: a.open("jane")).then_events(Opened(owner="jane"), meta=ME)


def test_other_events_than_expected_fail_and_are_shown() -> None:
    told = opened().when(lambda a: a.rename("janet"))
    with pytest.raises(AssertionError) as caught:
        told.then_events(Renamed("john"))
    assert "- Renamed(\n" not in str(caught.value)
    assert "-     root='john'," in str(caught.value)
    assert "+     root='janet'," in str(caught.value)
    for wrong in [(), (Renamed("janet"), Renamed("janet")), (Closed("janet"),)]:
        with pytest.raises(AssertionError):
            told.then_events(*wrong)


def test_another_meta_than_expected_fails() -> None:
    told = scenario(Account).when(lambda a: a.open("jane", auditor="you"))
    with pytest.raises(AssertionError, match="another meta"):
        told.then_events(Opened(owner="jane"), meta=ME)


def test_another_state_of_an_aggregate_fails() -> None:
    told = opened().when(lambda a: a.rename("janet"))
    with pytest.raises(AssertionError, match=r"\+     'owner'='janet'"):
        told.then_state(owner="jane", is_open=True)
    with pytest.raises(AssertionError, match="no field 'onwer'"):
        told.then_state(onwer="janet")


def test_a_refusal_is_expected_by_its_error() -> None:
    told = scenario(Account).when(lambda a: a.rename("janet"))
    told.then_raises(NotAllowed, match="not open").then_events().then_state(owner="")


def test_a_refusal_that_does_not_come_or_is_another_fails() -> None:
    with pytest.raises(AssertionError, match="nothing was raised; pushed"):
        opened().when(lambda a: a.rename("janet")).then_raises(NotAllowed)
    refused = scenario(Account)
    with pytest.raises(AssertionError, match="KeyError was expected, not NotAllowed"):
        refused.when(lambda a: a.rename("janet")).then_raises(KeyError)
    with pytest.raises(AssertionError, match="its message is another"):
        refused.when(lambda a: a.rename("janet")).then_raises(NotAllowed, match="frozen")


def test_a_refusal_that_nobody_expects_is_raised() -> None:
    refused = scenario(Account).when(lambda a: a.rename("janet"))
    with pytest.raises(NotAllowed):
        refused.then_events()
    with pytest.raises(NotAllowed):
        refused.then_state(owner="")
    with pytest.raises(NotAllowed):
        refused.when(lambda a: a.open("jane"))


def test_an_aggregate_pushes_only_what_an_append_would_take() -> None:
    def without_meta(account: Account) -> None:
        account.push(Opened(owner="jane"))

    def with_bad_data(account: Account) -> None:
        account.push(Opened.model_construct(owner=7), meta=ME)

    scenario(Account).when(without_meta).then_raises(EventValidationError, match="meta")
    scenario(Account).when(with_bad_data).then_raises(EventValidationError, match="owner")
    scenario(Account).when(lambda a: a.push(State())).then_raises(UnknownEvent).then_events()


def test_events_are_those_of_the_last_call_and_saved_ones_count() -> None:
    told = opened().when(lambda a: a.rename("one")).when(lambda a: a.rename("two"))
    told.then_events(Renamed("two")).when(lambda a: a.close()).then_events(Closed("asked"))
    told.then_state(is_open=False, owner="two")
    assert told.aggregate.log.version == 4
    assert not told.aggregate.log.is_dirty


def test_a_new_aggregate_has_version_0_and_a_loaded_one_that_of_its_stream() -> None:
    assert scenario(Account).aggregate.log.version == 0
    assert scenario(Account, stream="account-7").aggregate.id == "account-7"
    loaded = opened().aggregate
    assert (loaded.log.version, loaded.id) == (1, "account-1")
    assert [record.version for record in loaded.rename("x").rename("y").log.pending] == [2, 3]


def test_an_aggregate_is_loaded_in_the_order_of_creation() -> None:
    told = scenario(Account).given(Renamed("new")).given(Opened(owner="old"), created=PAST)
    told.then_state(owner="new", is_open=True)


def test_what_cannot_be_applied_is_not_pushed() -> None:
    told = opened().when(lambda a: a.rename("unfoldable")).then_raises(ValueError, match="apply")
    told.then_events().when(lambda a: a.rename("fine")).then_events(Renamed("fine"))


def test_nothing_can_be_given_after_something_was_done() -> None:
    with pytest.raises(InvalidInput, match="before when"):
        opened().when(lambda a: a.rename("x")).given(Closed())


def test_a_snapshot_is_refused_as_a_store_refuses_it() -> None:
    async def snapshot(account: Account) -> None:
        await account.rename("x").snapshot()

    opened().when(snapshot).then_raises(UnsavedEvents)


def test_async_methods_can_be_tested_inside_a_running_loop_too() -> None:
    async def inside() -> None:
        opened().when(lambda a: a.close()).then_events(Closed("asked"))

    asyncio.run(inside())


# --- projectors ---------------------------------------------------------------------------------


def test_a_projector_is_judged_by_the_handlers_that_it_calls() -> None:
    effects = Effects()
    told = scenario(effects.projector).when(Opened(owner="jane"))
    told.then_called(effects.once, effects.on_success, effects.all)
    assert effects.done == ["once jane", "success jane", "all opened"]
    assert [call.arguments[0] for call in told.calls] == told.records * 3


def test_hydrated_and_outdated_decide_as_in_a_store() -> None:
    effects = Effects()
    scenario(effects.projector).when(Opened(owner="x"), hydrated=True).then_called(effects.all)
    scenario(effects.projector).when(Opened(owner="x"), outdated=True).then_called(effects.all)
    told = scenario(effects.projector).when(Renamed("new"), hydrated=True)
    told.then_called(effects.on, effects.all).given()
    told.when(Renamed("old"), created=PAST).then_called(effects.all)


def test_other_calls_than_expected_fail_and_are_shown() -> None:
    effects = Effects()
    told = scenario(effects.projector).when(Renamed("x"), Renamed("y"))
    told.then_called(effects.on, effects.all, effects.on, effects.all)
    with pytest.raises(AssertionError) as caught:
        told.then_called(effects.once, effects.on, effects.all, effects.all)
    message = str(caught.value)
    assert "- Effects.once: 0 calls, expected 1" in message
    assert "+ Effects.on: 2 calls, expected 1" in message
    assert "  Effects.all: 2 calls, expected 2" in message
    with pytest.raises(AssertionError):
        told.then_called()


def test_what_was_given_is_replayed_and_not_counted() -> None:
    effects = Effects()
    told = scenario(effects.projector).given(Opened(owner="jane"), Renamed("janet"))
    assert effects.done == ["all opened", "on janet", "all renamed"]
    told.then_called().when(Renamed("x")).then_called(effects.on, effects.all)


def test_a_batch_goes_to_its_handler() -> None:
    effects = Effects()
    told = scenario(effects.projector).when(Renamed("x"), Renamed("y"), batch="import")
    told.then_called(effects.batch)
    assert effects.done == ["batch of 2"]


def test_a_failing_handler_is_expected_by_its_error() -> None:
    effects = Effects()
    told = scenario(effects.projector)
    told.when(Closed("broke")).then_raises(NotAllowed).then_called(effects.fails)
    told.when(Closed("broke")).then_raises(HandlerFailed)
    told.when(Closed("a"), stream="a").then_raises(NotAllowed)
    with pytest.raises(AssertionError, match="KeyError was expected, not HandlerFailed"):
        told.when(Closed("broke")).then_raises(KeyError)
    with pytest.raises(AssertionError, match="no handler failed"):
        told.when(Renamed("x")).then_raises(NotAllowed)
    with pytest.raises(HandlerFailed):
        told.when(Closed("broke")).then_called(effects.fails)


def test_an_error_that_is_handled_is_none() -> None:
    effects = Effects()
    told = scenario(effects.projector).when(Opened(owner="nobody"))
    told.then_called(effects.once, effects.on_error, effects.all)
    assert effects.done == ["error nobody", "all opened"]


def test_failures_of_several_streams_are_found_too() -> None:
    effects = Effects()
    records = [record_of(Closed(name), stream=name) for name in "ab"]
    scenario(effects.projector).when(*records).then_raises(NotAllowed)


def test_a_projector_is_tested_inside_a_running_loop_too() -> None:
    async def inside() -> None:
        effects = Effects()
        scenario(effects.projector).when(Renamed("x")).then_called(effects.on, effects.all)

    asyncio.run(inside())


def test_a_state_handler_is_given_the_fold_of_what_was_told() -> None:
    shown: list[tuple[int, State]] = []
    projector = Projector()

    @projector.state(fold, Opened, Renamed)
    async def show(state: State, record: Record) -> None:
        shown.append((record.position, state))

    told = scenario(projector).given(Opened(owner="jane")).when(Renamed("janet"), Closed())
    told.then_called(show)
    assert shown == [
        (1, State("jane", ["opened"])),
        (2, State("janet", ["opened", "renamed", "closed"])),
    ]
    assert told.calls[0].arguments == (shown[1][1], told.records[1])
    told.when(Renamed("early"), created=PAST).then_called(show, show)
    assert shown[-1] == (4, State("janet", ["renamed", "opened", "renamed", "closed"]))
    told.when(Opened(owner="joe"), stream="stream-2")
    assert shown[-1] == (5, State("joe", ["opened"]))


def test_a_projector_under_test_stays_as_it_was() -> None:
    effects = Effects()
    told = scenario(effects.projector).when(Renamed("x"))
    asyncio.run(effects.projector.push(told.records[0]))
    told.then_called(effects.on, effects.all)


def test_a_scenario_is_of_a_reducer_an_aggregate_or_a_projector() -> None:
    with pytest.raises(InvalidInput, match="State"):
        scenario(State)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
