"""Opens a state again that was wrong: `python -m tests.faulty_disk.repeat FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faulty_disk.exploring import repeat

if __name__ == "__main__":
    repeat(Path(sys.argv[1]))
