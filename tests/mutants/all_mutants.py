"""All mutants. `docs/guarantees.md` names each of them."""

from __future__ import annotations

from tests.mutants.committing import COMMITTER
from tests.mutants.following import FOLLOWING
from tests.mutants.joining import JOINED
from tests.mutants.mutant import Mutant
from tests.mutants.postgres import POSTGRES
from tests.mutants.rules import RULES
from tests.mutants.sequencing import SEQUENCER
from tests.mutants.storing import FILES

GROUPS: dict[str, list[Mutant]] = {
    "files": FILES,
    "PostgreSQL": POSTGRES,
    "joined": JOINED,
    "sequencer": SEQUENCER,
    "rules": RULES,
    "committer": COMMITTER,
    "following": FOLLOWING,
}
MUTANTS = [mutant for group in GROUPS.values() for mutant in group]
