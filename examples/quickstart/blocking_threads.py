"""One store for all threads of a program, as in Flask or Django: opened once, used everywhere."""

from concurrent.futures import ThreadPoolExecutor

from blocking_aggregates import User
from events import Auditor, EmailSet, UserCreated

from everlog.blocking import EventStore, caused_by

store = EventStore.open("sqlite:///users.db", events=[UserCreated, EmailSet])


def request(number: int) -> str:
    """Stands for a view: each runs in a thread of the server's."""
    with caused_by(f"request-{number}"):  # what it appends is found by the request
        user = store.new(User).set_email(f"user-{number}@doe.com", "me").save()
        # Several requests may change one stream: decide again if somebody else was faster.
        store.retrying(User, user.id, lambda user: user.set_email(f"{number}@doe.com", "me"))
        store.append("log", EmailSet(user.id), meta=Auditor(auditor="me"))
    return user.id


def main() -> None:
    with ThreadPoolExecutor(20) as server:
        users = list(server.map(request, range(100)))
    log = store.read("log").to_list()
    print(len(set(users)), "users;", len(log), "lines, the last at version", log[-1].version)
    print("nothing is lost:", {record.data.root for record in log} == set(users))
    store.close()  # when the program ends; what has been appended is safe without it


if __name__ == "__main__":
    main()
