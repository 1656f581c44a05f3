"""A read model follows the log, and goes on where it was when it is started again."""

import asyncio
import json
from pathlib import Path

from events import Auditor, EmailSet, UserCreated

from everlog import EventStore, LogDiverged

EVENTS = [UserCreated, EmailSet]
FILE = Path("emails.json")


def load() -> tuple[dict[str, str], str | None]:
    if not FILE.exists():
        return {}, None
    kept = json.loads(FILE.read_text())
    return kept["emails"], kept["token"]


def save(emails: dict[str, str], token: str | None) -> None:
    FILE.write_text(json.dumps({"emails": emails, "token": token}))  # both together, or neither


async def follow(store: EventStore, *, until: int) -> None:
    """Keeps every user's address in a file, with the token of the last record that is in it."""
    emails, token = load()
    following = store.follow(after=token or 0)  # what is there, then what comes: whoever appends
    async for record in following:
        match record.data:
            case UserCreated(email=email) | EmailSet(root=email):
                emails[record.stream] = email
            case _:
                pass
        if following.is_caught_up:
            save(emails, following.token)
        if record.position == until:
            break
    print(f"up to position {following.position}: {emails}")


async def main() -> None:
    m = Auditor(auditor="me")
    async with EventStore.open("sqlite:///users.db", events=EVENTS) as store:
        following = asyncio.create_task(follow(store, until=2))
        await store.append("user-1", UserCreated(email="jane@doe.com"), meta=m)
        await store.append("user-2", UserCreated(email="joe@doe.com"), meta=m)
        await following

        await store.append("user-1", EmailSet("jane@new.com"), meta=m)
        await follow(store, until=3)  # another day

    # A server that lost its last records, an old backup, another file: it is told, not skipped.
    async with EventStore.open("sqlite:///other.db", events=EVENTS) as other:
        try:
            await follow(other, until=4)
        except LogDiverged as error:
            print(f"not the log that was followed: its {error.differs} is another")


if __name__ == "__main__":
    asyncio.run(main())
