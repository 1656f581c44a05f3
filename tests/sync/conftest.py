"""The places in which stores are kept in step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sync.places import Place


@pytest.fixture(params=["memory", "sqlite", "postgres", "sqlite to postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if "postgres" not in request.param:
        return Place(request.param, tmp_path)
    return Place(request.param, tmp_path, request.getfixturevalue("postgres_server"))
