"""An aggregate is a reducer with behaviour: it decides, and emits events. Without `await`."""

from typing import Self

from events import Auditor, EmailSet, GivenNameSet, UserCreated

from everlog.blocking import AggregateRoot, EventStore, Record


class User(AggregateRoot, name="user"):
    given: str = ""
    email: str = ""

    def apply(self, record: Record) -> None:  # the original's `with`
        match record.data:
            case GivenNameSet(root=given):
                self.given = given
            case EmailSet(root=email):
                self.email = email
            case _:
                pass

    def set_email(self, email: str, auditor: str) -> Self:
        return self.push(EmailSet(email), meta=Auditor(auditor=auditor))


def main() -> None:
    with EventStore.open("memory:", events=[UserCreated, GivenNameSet, EmailSet]) as store:
        create(store)
        change(store)


def create(store: EventStore) -> None:
    user = store.new(User)  # id "user-<uuid7>"; the id is the stream
    print(user)
    user = store.new(User, id="user-1")
    user.set_email("jane@doe.com", "me").save()
    print(user)


def change(store: EventStore) -> None:
    user = store.get(User, "user-1")  # None if absent; store.get(User, relation=...) too
    assert user is not None
    user.set_email("jane@work.com", "me")
    other = store.new(User).set_email("john@doe.com", "me")
    print(user.log.version, user.log.pending, user.log.is_dirty)
    store.save(user, other)  # several aggregates in one transaction
    print(user.log.version, user.log.pending, user.log.is_dirty)
    user.snapshot()

    # Load, act, save; again on conflict.
    user = store.retrying(User, "user-1", lambda user: user.set_email("new@doe.com", "me"))
    print(user, user.email)


if __name__ == "__main__":
    main()
