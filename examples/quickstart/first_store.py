"""A store is one URL. Run it twice: the file is still there, and the stream grows."""

import asyncio

from events import Auditor, GivenNameSet, UserActivated, UserCreated

from everlog import EventStore


async def main() -> None:
    async with EventStore.open(
        "sqlite:///users.db", events=[UserCreated, GivenNameSet, UserActivated]
    ) as store:
        [created] = await store.append(
            "user-1", UserCreated(email="jane@doe.com"), meta=Auditor(auditor="me")
        )
        async for record in store.read("user-1"):
            print(record.position, record.version, record.type, record.data)
        print(f"appended {created.id} at {created.created_at:%Y-%m-%d %H:%M:%S} UTC")


if __name__ == "__main__":
    asyncio.run(main())
