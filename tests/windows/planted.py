"""Names what Windows has not: the type checker is to see that, each in its line."""

from __future__ import annotations

import fcntl
import os
import signal
import socket

LOCK = fcntl.LOCK_UN
USER = os.getuid()
NUMBER = signal.SIGKILL
FAMILY = socket.AF_UNIX
PROCESS = os.getpid()  # which it has
