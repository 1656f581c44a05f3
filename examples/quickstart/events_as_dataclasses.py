"""The same events as standard dataclasses. `@event` stands above `@dataclass`.

A dataclass is always an object of fields, so that what is a bare string in `events.py` has a field
here, and JSON data like `{"given": "Jane"}`. Its fields are validated at append, by pydantic.
"""

import asyncio
import json
from dataclasses import dataclass

from everlog import EventStore, EventValidationError, event


@dataclass
class Auditor:
    auditor: str


@dataclass
class Name:
    given: str = ""
    family: str = ""


@event("user:created", meta=Auditor)
@dataclass
class UserCreated:
    email: str
    name: Name | None = None


@event("user:name:given-set", meta=Auditor)
@dataclass
class GivenNameSet:
    given: str


@event("user:email-set", meta=Auditor)
@dataclass
class EmailSet:
    email: str


@event("user:activated", meta=Auditor, register="user:active")
@dataclass
class UserActivated: ...


async def main() -> None:
    events = [UserCreated, GivenNameSet, EmailSet, UserActivated]
    async with EventStore.open("memory:", events=events) as store:
        me = Auditor(auditor="me")
        await store.append("user-1", UserCreated(email="jane@doe.com"), UserActivated(), meta=me)
        async for record in store.read("user-1"):
            print(record.position, record.type, record.data, record.json)

        # A dataclass may hold anything; the store looks.
        wrong = EmailSet(**json.loads('{"email": null}'))
        try:
            await store.append("user-1", wrong, meta=me)
        except EventValidationError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
