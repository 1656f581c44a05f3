"""The programs of the quick start do what they show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import everlog

FOLDER = Path(__file__).parents[2] / "examples/quickstart"

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

SHOWN = {
    "events.py": ["UserCreated(name=Name(given='Jane', family=''), email='jane@doe.com')"],
    "events_as_structs.py": [
        "1 user:created UserCreated(email=",
        "2 user:activated UserActivated() None",
    ],
    "events_as_dataclasses.py": [
        "1 user:created UserCreated(email=",
        "2 user:activated UserActivated() None",
        "data.email: Input should be a valid string",
    ],
    "first_store.py": ["1 1 user:created name=None email='jane@doe.com'", "appended "],
    "reading_and_appending.py": [
        "retried: jane-1 is still at position 1",
        "too late: stream 'user-1' is at version 3, expected 1",
        "not there: stream 'user-2' is at version 0, expected EXISTS",
        "bad data: (('data.email', 'Input should be a valid string'),)",
        "unregistered: class UserActivated",
        "a stream:    ['user:created', 'user:name:given-set', 'user:email-set']",
        "several:     ['b', 'b', 'b', 'a', 'b']",
        "all:         [1, 2, 3, 4, 5, 6, 7, 8]",
        "one type:    a@doe.com",
        "backwards:   [4, 3, 2, 1]",
        "yesterday:   []",
        "status:      Status(exists=True, outdated=False)",
        "streams of:  ['a', 'user-1']",
        "a relation:  ['a']",
        "cleared:     2",
        "Imported(stored=8, known=0)",
        "Imported(stored=0, known=8) the second time",
        "late: hydrated True, outdated True",
    ],
    "reducers.py": [
        "UserState(given='Jane', email='jane@doe.com', active=False)",
        "position=2, count=2)",
        "UserState(given='', email='jane@doe.com', active=True)",
        "None",
    ],
    "aggregates.py": [
        "<User 'user-0",
        "<User 'user-1' version 1>",
        "1 [<Record 0 user:email-set of 'user-1' version 2 id ",
        "2 [] False",
        "<User 'user-1' version 3> new@doe.com",
    ],
    "projectors.py": [
        "mail to jane@doe.com: welcome!",
        "3 users at once, and no mail",
        "{'user-1': 'jane@new.com'} {'user:created': 1}",
        "{'user-1': 'jane@new.com'} {'user:created': 3}",
    ],
    "following.py": [
        "up to position 2: {'user-1': 'jane@doe.com', 'user-2': 'joe@doe.com'}",
        "up to position 3: {'user-1': 'jane@new.com', 'user-2': 'joe@doe.com'}",
        "not the log that was followed: its ledger is another",
    ],
    "blocking_threads.py": [
        "100 users; 100 lines, the last at version 100",
        "nothing is lost: True",
    ],
    "testing.py": ["ok: a user has the last name that was given", "ok: the clock is in your hand"],
}
BLOCKING = ("aggregates", "first_store", "projectors", "reading_and_appending", "reducers")
# What the async program prints, word for word.
SHOWN.update({f"blocking_{name}.py": SHOWN[f"{name}.py"] for name in BLOCKING})


def run(name: str, folder: Path) -> str:
    """Runs a program as its reader does, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(everlog.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")), ids=str)
def test_a_program_of_the_quick_start_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    printed = run(name, tmp_path)
    place = 0
    for line in SHOWN[name]:
        found = printed.find(line, place)
        assert found >= 0, f"{line!r} is not in what follows, in this order:\n{printed[place:]}"
        place = found + len(line)


@pytest.mark.parametrize("first", ["first_store.py", "blocking_first_store.py"])
def test_the_first_store_is_still_there_when_it_is_opened_again(first: str, tmp_path: Path) -> None:
    run(first, tmp_path)
    again = run("blocking_first_store.py", tmp_path)  # one file for both APIs
    assert "1 1 user:created" in again
    assert "2 2 user:created" in again


def test_the_quick_starts_own_tests_run_with_pytest_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PYTEST, "-c", os.devnull, "--rootdir", tmp_path, FOLDER / "testing.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(everlog.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout
