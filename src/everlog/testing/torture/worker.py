"""A process of the torture: `python -m everlog.testing.torture.worker`, told the rest by a line."""

from __future__ import annotations

import asyncio

from everlog.testing.torture.following import follow
from everlog.testing.torture.mischief import make_mischief
from everlog.testing.torture.plan import Role
from everlog.testing.torture.voice import Voice
from everlog.testing.torture.writing import write


async def play() -> None:
    """Plays the role that the first line names."""
    voice = await Voice.open()
    role = Role.from_json(await voice.hear())
    match role.name:
        case "writer":
            await write(role, voice)
        case "reader":
            await follow(role, voice)
        case _:
            await make_mischief(role, voice)


if __name__ == "__main__":
    asyncio.run(play())
