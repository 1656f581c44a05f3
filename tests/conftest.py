"""What every test gets: a hypothesis profile, servers, a seed that is printed when it fails."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["tests.postgres_fixtures"]

SEED_VARIABLE = "EVERLOG_TEST_SEED"

# CI must answer the same for the same code; a developer's runs explore. Neither judges a test by
# its speed on a busy machine: pytest's timeout does that. A failure prints how to repeat it.
# CI shrinks no failure: nearly all of its failures are of planted faults, and read by nobody.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile(
    "ci",
    parent=settings.get_profile("dev"),
    derandomize=True,
    database=None,
    phases=[phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure() -> None:
    # Set once, before xdist starts its workers: they inherit it.
    os.environ.setdefault(SEED_VARIABLE, "0" if os.environ.get("CI") else str(os.getpid()))


def pytest_report_header() -> str:
    return f"seed: {os.environ[SEED_VARIABLE]} (repeat with {SEED_VARIABLE}=...)"


@pytest.fixture
def rng() -> random.Random:
    """Random choices that differ from test to test and repeat with the seed shown on failure."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    seed = f"{os.environ[SEED_VARIABLE]} {test}"
    print(f"seed: {seed}")  # captured, and shown if the test fails
    return random.Random(seed)
