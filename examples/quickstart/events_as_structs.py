"""The same events as msgspec Structs: `pip install everlog[msgspec]`.

A Struct is always an object of fields, so that what is a bare string in `events.py` has a field
here, and JSON data like `{"given": "Jane"}`.
"""

import asyncio

import msgspec

from everlog import EventStore, event


class Auditor(msgspec.Struct):
    auditor: str


class Name(msgspec.Struct):
    given: str = ""
    family: str = ""


@event("user:created", meta=Auditor)
class UserCreated(msgspec.Struct):
    email: str
    name: Name | None = None


@event("user:name:given-set", meta=Auditor)
class GivenNameSet(msgspec.Struct):
    given: str


@event("user:email-set", meta=Auditor)
class EmailSet(msgspec.Struct):
    email: str


@event("user:activated", meta=Auditor, register="user:active")
class UserActivated(msgspec.Struct): ...


async def main() -> None:
    events = [UserCreated, GivenNameSet, EmailSet, UserActivated]
    async with EventStore.open("memory:", events=events) as store:
        me = Auditor(auditor="me")
        await store.append("user-1", UserCreated(email="jane@doe.com"), UserActivated(), meta=me)
        async for record in store.read("user-1"):
            print(record.position, record.type, record.data, record.json)


if __name__ == "__main__":
    asyncio.run(main())
