"""The how-tos of frameworks and of tests are true: each is followed to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from everlog.testing import PostgresServer
from tests.docs.following import ROOT, Run, Write, a_free_port, reader, steps_of

pytestmark = [pytest.mark.once, pytest.mark.timeout(240)]

HOW_TO = ROOT / "docs" / "how-to"
PAGES = ["django", "fastapi", "sqlalchemy", "testing"]
URL = "postgresql://localhost/shop"
PORT = "8787"


@pytest.mark.parametrize("page", PAGES)
def test_a_reader_sees_what_the_page_shows(
    page: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    here = {PORT: a_free_port(), URL: postgres_server.new_database()}
    with reader(tmp_path, replaced=here) as someone:
        someone.follow(HOW_TO / f"{page}.md")
        assert someone.say("wait")[0] == ""
        assert someone.jobs() == [], "a page ends what it has begun"


def test_the_read_model_by_sqlalchemy_is_the_same_in_postgresql(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    page = HOW_TO / "sqlalchemy.md"
    [said] = [step.said for step in steps_of(page) if isinstance(step, Run) and step.said]
    with reader(tmp_path) as someone:
        someone.follow(page)
        someone.say(f"export SALES_URL={postgres_server.new_database()}")
        assert someone.say("python -W error sales.py") == (said, 0)


LOST = """# lost.py
from orders import URL, EventStore, Order, OrderPlaced, connection, together

with EventStore.open(URL, events=[OrderPlaced]) as store:
    for statement in ("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"):
        try:
            with together(store) as tx:
                Order.objects.create(number=7, item="soap")
                tx.append("order-7", OrderPlaced("soap"), ids=["seven"])
                with connection.cursor() as cursor:
                    cursor.execute(statement)
        except Exception as error:
            print(type(error).__name__)
        print(Order.objects.filter(number=7).count(), store.info().position)
"""


def test_django_goes_on_after_a_connection_was_lost_in_the_block(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with reader(tmp_path, replaced={URL: postgres_server.new_database()}) as someone:
        for step in steps_of(HOW_TO / "django.md"):
            if isinstance(step, Write) and step.name == "orders.py":
                someone.take(step)
        someone.take(Write("lost.py", LOST))
        said, _ = someone.say("python lost.py")
    assert said.splitlines()[-3:] == ["OperationalError", "0 1", "1 2"]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_says_something(page: str) -> None:
    steps = [step for step in steps_of(HOW_TO / f"{page}.md") if isinstance(step, Run)]
    assert any(step.said for step in steps)
    assert "" not in [step.said for step in steps]
