"""A reducer folds records onto a state. Without `await`."""

from dataclasses import dataclass
from datetime import UTC, datetime

from events import Auditor, EmailSet, GivenNameSet, UserActivated, UserCreated

from everlog.blocking import EventStore, Record, reducer


@dataclass
class UserState:
    given: str = ""
    email: str = ""
    active: bool = False


@reducer("user", initial=UserState)
def user_reducer(state: UserState, record: Record) -> UserState:
    match record.data:
        case UserCreated(email=email):
            state.email = email
        case GivenNameSet(root=given):
            state.given = given
        case UserActivated():
            state.active = True
        case _:
            pass
    return state


def main() -> None:
    events = [UserCreated, GivenNameSet, EmailSet, UserActivated]
    with EventStore.open("memory:", events=events) as store:
        me = Auditor(auditor="me")
        store.append("user-1", UserCreated(email="jane@doe.com"), GivenNameSet("Jane"), meta=me)
        store.relations.add("tenant:acme", "user-1")
        moment = datetime.now(UTC)
        pending = [store.past("user-1", UserActivated(), created=moment, meta=me)]

        state = store.reduce(user_reducer, "user-1")  # None if the stream has no events
        print(state)
        store.snapshots.create(user_reducer, "user-1")  # and get, delete; also relation="..."
        print(store.snapshots.get(user_reducer, "user-1"))
        state = store.reduce(
            user_reducer,
            relation="tenant:acme",
            types=[UserCreated],
            pending=pending,
            as_of=moment,
        )
        print(state)
        print(store.reduce(user_reducer, "user-2"))


if __name__ == "__main__":
    main()
