"""What stands in for pip where a page is followed: an environment is lent what is in another.

`python lending.py SITE_PACKAGES... -- install ...`, by the Python of the environment that borrows.
"""

import sys
import sysconfig
from pathlib import Path


def lend(places: list[str]) -> None:
    """Has this Python find what is in these places, and gives it the command `everlog`."""
    borrower = Path(sysconfig.get_path("purelib"))
    if str(borrower) in places:
        return  # no environment was made: it is that of the tests
    lines = [f"import site; site.addsitedir({place!r})\n" for place in places]
    (borrower / "lent.pth").write_text("".join(lines))
    command = Path(sysconfig.get_path("scripts")) / "everlog"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m everlog "$@"\n')
    command.chmod(0o755)


if __name__ == "__main__":
    end = sys.argv.index("--")
    assert sys.argv[end + 1] == "install", sys.argv
    lend(sys.argv[1:end])
