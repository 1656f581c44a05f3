"""Events are classes. Here with pydantic; the other files of the quick start use these."""

from pydantic import BaseModel, RootModel

from everlog import event


class Auditor(BaseModel):
    auditor: str


class Name(BaseModel):
    given: str = ""
    family: str = ""


@event("user:created", meta=Auditor)
class UserCreated(BaseModel):  # pydantic, msgspec.Struct or dataclass: all three work
    name: Name | None = None
    email: str


@event("user:name:given-set", meta=Auditor)
class GivenNameSet(RootModel[str]): ...  # JSON data is the bare string, as other services send it


@event("user:email-set", meta=Auditor)
class EmailSet(RootModel[str]): ...


@event("user:activated", meta=Auditor, register="user:active")
class UserActivated(BaseModel): ...  # no fields: JSON data is null


if __name__ == "__main__":
    created = UserCreated(email="jane@doe.com", name=Name(given="Jane"))
    print(f"an event is an instance of its class: {created!r}")
