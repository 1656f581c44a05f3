"""A store is one URL. Run it twice: the stream grows. Without `await`."""

from events import Auditor, GivenNameSet, UserActivated, UserCreated

from everlog.blocking import EventStore


def main() -> None:
    with EventStore.open(
        "sqlite:///users.db", events=[UserCreated, GivenNameSet, UserActivated]
    ) as store:
        [created] = store.append(
            "user-1", UserCreated(email="jane@doe.com"), meta=Auditor(auditor="me")
        )
        for record in store.read("user-1"):
            print(record.position, record.version, record.type, record.data)
        print(f"appended {created.id} at {created.created_at:%Y-%m-%d %H:%M:%S} UTC")


if __name__ == "__main__":
    main()
