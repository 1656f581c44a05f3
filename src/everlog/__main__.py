"""`python -m everlog`: the command line, where the script `everlog` is not on the path."""

import sys

from everlog.cli.command_line import main

sys.exit(main())
