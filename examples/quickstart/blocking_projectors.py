"""A projector hands records to handlers: for effects, read models and counts. Without `await`."""

from collections import Counter
from collections.abc import Sequence

from events import Auditor, EmailSet, UserCreated

from everlog.blocking import EventStore, Projector, Record

projector = Projector()

emails: dict[str, str] = {}
counts: Counter[str] = Counter()


@projector.once(UserCreated)  # new here and not outdated: mail, payment, order
def welcome(record: Record[UserCreated]) -> None:
    print(f"mail to {record.data.email}: welcome!")


@projector.on(EmailSet)  # new or hydrated, never outdated: the latest data wins
def project_email(record: Record[EmailSet]) -> None:
    emails[record.stream] = record.data.root


@projector.all(UserCreated)  # everything, in any order
def count(record: Record[UserCreated]) -> None:
    counts[record.type] += 1


@projector.batch("import")  # appended together under this key
def bulk(records: Sequence[Record]) -> None:
    print(f"{len(records)} users at once, and no mail")


def main() -> None:
    me = Auditor(auditor="me")
    with EventStore.open("memory:", events=[UserCreated, EmailSet]) as store:
        store.on_appended(projector.handle)  # in process, at once
        store.on_error(lambda failure: print("a handler failed:", failure.error))

        [record] = store.append("user-1", UserCreated(email="jane@doe.com"), meta=me)
        store.append("user-1", EmailSet("jane@new.com"), meta=me)
        store.append("user-2", *[UserCreated(email="x@doe.com")] * 3, meta=me, batch="import")
        print(emails, dict(counts))

        projector.push(record, hydrated=True, outdated=False)  # and by hand
        projector.replay(store.read("user-1"))  # hydration: never runs a `once`
        print(emails, dict(counts))


if __name__ == "__main__":
    main()
