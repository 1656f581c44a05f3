"""A projector hands records to handlers: for effects, read models and counts."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from events import Auditor, EmailSet, UserCreated

from everlog import EventStore, Projector, Record

projector = Projector()

emails: dict[str, str] = {}
counts: Counter[str] = Counter()


@projector.once(UserCreated)  # new here and not outdated: mail, payment, order
async def welcome(record: Record[UserCreated]) -> None:
    print(f"mail to {record.data.email}: welcome!")


@projector.on(EmailSet)  # new or hydrated, never outdated: the latest data wins
async def project_email(record: Record[EmailSet]) -> None:
    emails[record.stream] = record.data.root


@projector.all(UserCreated)  # everything, in any order
async def count(record: Record[UserCreated]) -> None:
    counts[record.type] += 1


@projector.batch("import")  # appended together under this key
async def bulk(records: Sequence[Record]) -> None:
    print(f"{len(records)} users at once, and no mail")


async def main() -> None:
    me = Auditor(auditor="me")
    async with EventStore.open("memory:", events=[UserCreated, EmailSet]) as store:
        store.on_appended(projector.handle)  # in process, at once
        store.on_error(lambda failure: print("a handler failed:", failure.error))

        [record] = await store.append("user-1", UserCreated(email="jane@doe.com"), meta=me)
        await store.append("user-1", EmailSet("jane@new.com"), meta=me)
        await store.append("user-2", *[UserCreated(email="x@doe.com")] * 3, meta=me, batch="import")
        print(emails, dict(counts))

        await projector.push(record, hydrated=True, outdated=False)  # and by hand
        await projector.replay(store.read("user-1"))  # hydration: never runs a `once`
        print(emails, dict(counts))


if __name__ == "__main__":
    asyncio.run(main())
