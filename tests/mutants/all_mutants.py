"""All mutants. `docs/guarantees.md` names each of them."""

from __future__ import annotations

from tests.mutants.committing import COMMITTER
from tests.mutants.following import FOLLOWING
from tests.mutants.joining import JOINED
from tests.mutants.postgres import POSTGRES
from tests.mutants.rules import RULES
from tests.mutants.sequencing import SEQUENCER
from tests.mutants.storing import FILES

MUTANTS = [*FILES, *POSTGRES, *JOINED, *SEQUENCER, *RULES, *COMMITTER, *FOLLOWING]
