"""A place of each kind for durable subscriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from everlog.adapters.sqlite import file_hold
from everlog.subscriptions import worker
from tests.subscriptions.durable.places import Place


@pytest.fixture(params=["sqlite", "same", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path / 'log.db'}")
    if request.param == "same":
        # A machine that is busy with other tests would be a handler's failure, and parked.
        monkeypatch.setattr(file_hold, "LIMIT_S", 2.0)
        return Place("same", f"sqlite:///{tmp_path / 'log.db'}?views=same")
    server = request.getfixturevalue("postgres_server")
    place = Place("postgres", server.new_database())
    place.ask(place.create)
    return place


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets workers that have nothing to do look soon at what others have done."""
    monkeypatch.setattr(worker, "IDLE_S", 0.2)
