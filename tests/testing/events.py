"""Events, a reducer, an aggregate and a projector to try the helpers on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, RootModel

from everlog import AggregateRoot, Projector, Record, event, reducer


class Auditor(BaseModel):
    auditor: str


@event("opened", meta=Auditor)
class Opened(BaseModel):
    owner: str
    limit: int = 0


@event("renamed")
class Renamed(RootModel[str]): ...


@event("closed", register="open")
@dataclass
class Closed:
    why: str = ""


@event("reopened", register="open")
@dataclass
class Reopened: ...


@dataclass
class State:
    owner: str = ""
    seen: list[str] = field(default_factory=list[str])


@reducer("state", initial=State)
def fold(state: State, record: Record) -> State:
    state.seen.append(record.type)
    match record.data:
        case Opened(owner=owner):
            state.owner = owner
        case Renamed(root=owner):
            state.owner = owner
        case _:
            pass
    return state


class NotAllowed(Exception):
    """Raised by the aggregate."""


class Account(AggregateRoot, name="account"):
    owner: str = ""
    is_open: bool = False

    def apply(self, record: Record) -> None:
        match record.data:
            case Opened(owner=owner):
                self.owner, self.is_open = owner, True
            case Renamed(root=owner):
                if owner == "unfoldable":
                    raise ValueError("cannot apply this")
                self.owner = owner
            case Closed():
                self.is_open = False
            case _:
                pass

    def open(self, owner: str, auditor: str = "me") -> Self:
        return self.push(Opened(owner=owner), meta=Auditor(auditor=auditor))

    def rename(self, owner: str) -> Self:
        if not self.is_open:
            raise NotAllowed(f"{self.id} is not open")
        return self.push(Renamed(owner))

    async def close(self) -> Self:
        return await self.push(Closed("asked")).save()


@dataclass
class Effects:
    """A projector, and what its handlers have done."""

    projector: Projector = field(default_factory=Projector)
    done: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.projector.once(Opened, on_success=self.on_success, on_error=self.on_error)(self.once)
        self.projector.on(Renamed)(self.on)
        self.projector.all(Opened, Renamed)(self.all)
        self.projector.all(Closed)(self.fails)
        self.projector.batch("import")(self.batch)

    async def once(self, record: Record[Opened]) -> str:
        if record.data.owner == "nobody":
            raise NotAllowed(record.data.owner)
        self.done.append(f"once {record.data.owner}")
        return record.data.owner

    async def on_success(self, record: Record, result: object) -> None:
        self.done.append(f"success {result}")

    async def on_error(self, record: Record, error: Exception) -> None:
        self.done.append(f"error {error}")

    def on(self, record: Record[Renamed]) -> None:
        self.done.append(f"on {record.data.root}")

    async def all(self, record: Record[Opened | Renamed]) -> None:
        self.done.append(f"all {record.type}")

    async def fails(self, record: Record[Closed]) -> None:
        raise NotAllowed(record.data.why)

    async def batch(self, records: Sequence[Record]) -> None:
        self.done.append(f"batch of {len(records)}")
