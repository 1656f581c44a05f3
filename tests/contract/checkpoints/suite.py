"""What every adapter's checkpoints promise, as tests that each can be held to.

Bind an adapter by saying how its checkpoints are opened:

    class TestMine(SharedCheckpointsContract):
        async def open_checkpoints(self, place: Path) -> Checkpoints:
            return await MyCheckpoints.open(str(place))
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failing assert shows its values here as in any test.
pytest.register_assert_rewrite(
    *(
        f"tests.contract.checkpoints.{topic}"
        for topic in (
            "handing_tx",
            "leasing",
            "lifecycle",
            "moving",
            "needing",
            "owing",
            "scene",
            "setting_aside",
            "swapping",
        )
    )
)

from tests.contract.checkpoints.handing_tx import HandingTx  # noqa: E402 - see above
from tests.contract.checkpoints.leasing import Leasing  # noqa: E402
from tests.contract.checkpoints.lifecycle import Lifecycle, Shared  # noqa: E402
from tests.contract.checkpoints.moving import Moving  # noqa: E402
from tests.contract.checkpoints.needing import Needing  # noqa: E402
from tests.contract.checkpoints.owing import Owing  # noqa: E402
from tests.contract.checkpoints.scene import (  # noqa: E402
    Binding,
    Scene,
    checkpoints_test,
)
from tests.contract.checkpoints.setting_aside import SettingAside  # noqa: E402
from tests.contract.checkpoints.swapping import Swapping  # noqa: E402

__all__ = [
    "Binding",
    "CheckpointsContract",
    "Scene",
    "SharedCheckpointsContract",
    "checkpoints_test",
]


class CheckpointsContract(
    Leasing, Moving, HandingTx, SettingAside, Owing, Needing, Swapping, Lifecycle
):
    """For checkpoints that live as long as their process."""


class SharedCheckpointsContract(Shared, CheckpointsContract):
    """For checkpoints that several processes share."""
