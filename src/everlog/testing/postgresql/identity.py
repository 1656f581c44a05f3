"""As whom a server runs: PostgreSQL refuses root, and initdb a user without a name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TypedDict

from everlog.errors import CannotOpen


class As(TypedDict, total=False):
    """What `subprocess` needs to be told to start a program as somebody else."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Identity:
    """How to start a program so that PostgreSQL accepts who runs it."""

    prefix: tuple[str, ...] = ()
    """The program that starts it, with its arguments."""
    nobody: tuple[int, int] | None = None
    """The user and group that it runs as and owns its files, if that is another than ours."""

    @property
    def popen(self) -> As:
        if self.nobody is None:
            return {}
        user, group = self.nobody
        return {"user": user, "group": group, "extra_groups": []}

    def own(self, *paths: str | os.PathLike[str]) -> None:
        """Hands files of ours over to whom the server runs as."""
        for path in paths if self.nobody else ():
            os.chown(path, *self.nobody or ())


def find_identity() -> Identity:
    """Returns how to run PostgreSQL here; raises `CannotOpen` where root has no other user.

    A user with a name runs it as he is. Root is mapped to another user in a user namespace: to the
    outside all is done by root, so no file changes hands and a folder that only root may read is
    read. So is a user without a name, as containers have them. Where the kernel or the container
    forbids that, or on macOS, root runs it as nobody.
    """
    if sys.platform == "win32":
        raise CannotOpen(
            "everlog.testing starts PostgreSQL on Linux and macOS alone; test on a server that runs"
        )
    import pwd  # here: Windows has no such module, and imports this one

    root = os.geteuid() == 0
    if not root and _has_a_name(os.geteuid()):
        return Identity()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise CannotOpen(
            "PostgreSQL does not run as root, and there is no user nobody; run as another user"
        ) from error
    user, group = nobody.pw_uid, nobody.pw_gid
    prefix = ("unshare", "--user", f"--map-user={user}", f"--map-group={group}")
    if _succeeds(*prefix, "true"):
        return Identity(prefix)
    return Identity(nobody=(user, group)) if root else Identity()


def _has_a_name(user: int) -> bool:
    import pwd

    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _succeeds(program: str, *arguments: str) -> bool:
    path = shutil.which(program)
    if path is None:
        return False
    return subprocess.run([path, *arguments], capture_output=True).returncode == 0  # noqa: S603
