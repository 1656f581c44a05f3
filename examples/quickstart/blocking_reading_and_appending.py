"""What can be asked of an append and of a read. Without `await`."""

from datetime import UTC, datetime, timedelta

from events import Auditor, EmailSet, GivenNameSet, UserActivated, UserCreated
from pydantic import BaseModel

from everlog.blocking import (
    EXISTS,
    NEW,
    EventStore,
    EventValidationError,
    UnknownEvent,
    WrongVersion,
    event,
    to,
)


@event("door:opened")
class DoorOpened(BaseModel): ...  # an event without a meta class, so nothing is said about it


EVENTS = [UserCreated, GivenNameSet, EmailSet, DoorOpened]


def main() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        append(store)
        be_refused(store)
        read(store)
        relate(store)
        with EventStore.open("memory:", events=EVENTS) as other:
            carry_over(store, other)


def append(store: EventStore) -> None:
    m = Auditor(auditor="me")
    created = UserCreated(email="jane@doe.com")
    store.append("user-1", created, meta=m, expect=NEW, ids=["jane-1"])
    store.append("user-1", GivenNameSet("Jane"), EmailSet("jane@new.com"), meta=m)
    store.append("b", DoorOpened(), DoorOpened(), DoorOpened())

    # The same ids again are a retry: it gets the first try's records, and stores nothing.
    [record] = store.append("user-1", created, meta=m, expect=NEW, ids=["jane-1"])
    print(f"retried: {record.id} is still at position {record.position}")

    e1, e2, i = UserCreated(email="a@doe.com"), DoorOpened(), "door-4"
    store.append_many([to("a", e1, meta=m), to("b", e2, expect=3, id=i)])  # all or nothing


def be_refused(store: EventStore) -> None:
    """Nothing of a failed append remains."""
    m = Auditor(auditor="me")
    try:
        store.append("user-1", GivenNameSet("Janet"), meta=m, expect=1)
    except WrongVersion as error:
        print(f"too late: {error}")
    try:
        store.append("user-2", GivenNameSet("John"), meta=m, expect=EXISTS)
    except WrongVersion as error:
        print(f"not there: {error}")

    wrong = UserCreated.model_construct(email=7)  # pydantic does not look; the store does
    try:
        store.append("user-2", wrong, meta=m)
    except EventValidationError as error:
        print(f"bad data: {error.problems}")
    try:
        store.append("user-2", UserActivated(), meta=m)
    except UnknownEvent as error:
        print(f"unregistered: {error}")


def read(store: EventStore) -> None:
    """Reads are by position; `for`, `.to_list()` or `.first()` begin them."""
    stream = "user-1"
    print("a stream:   ", [record.type for record in store.read(stream)])
    print("several:    ", [record.stream for record in store.read(streams=["a", "b"])])
    print("all:        ", [record.position for record in store.read()])

    for found in store.read(types=[UserCreated], after=1, limit=1):
        print("one type:   ", found.data.email)  # type checkers know that it is a UserCreated
    print("backwards:  ", [r.position for r in store.read(until=4, backwards=True)])

    yesterday = datetime.now(UTC) - timedelta(days=1)
    print("yesterday:  ", store.read(as_of=yesterday).to_list())

    record = store.read(stream, backwards=True).first()
    assert record is not None
    print("status:     ", store.status(record))  # -> exists, outdated


def relate(store: EventStore) -> None:
    """A relation is a key that names a set of streams."""
    for stream in ("a", "b"):
        store.relations.add("tenant:acme", stream)
    store.relations.add_many([("tenant:acme", "user-1"), ("tenant:doe", "user-1")])
    store.relations.remove("tenant:acme", "b")
    store.relations.remove_many([("tenant:acme", "user-1")])
    print("streams of: ", store.relations.streams_of("tenant:acme", "tenant:doe"))
    print("a relation: ", [r.stream for r in store.read(relation="tenant:acme")])
    print("cleared:    ", store.relations.clear("tenant:acme", "tenant:doe"))


def carry_over(store: EventStore, other: EventStore) -> None:
    """Imported records keep id, created, origin and nonce, and are hydrated."""
    records = store.read()
    print(other.import_records(records))
    print(other.import_records(records), "the second time")

    # Something that happened before all this, and is known only now.
    moment, m = datetime(2020, 1, 1, tzinfo=UTC), Auditor(auditor="me")
    late = other.past("user-1", EmailSet("old@doe.com"), created=moment, meta=m)
    other.import_records([late])
    record = other.find(late.id)
    assert record is not None
    print(f"late: hydrated {record.hydrated}, outdated {record.outdated}")


if __name__ == "__main__":
    main()
