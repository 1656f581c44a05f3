"""All mutants. `docs/guarantees.md` names each of them."""

from __future__ import annotations

from tests.mutants.checkpointing import CHECKPOINTS
from tests.mutants.committing import COMMITTER
from tests.mutants.effects import EFFECTS_OF_SUBSCRIPTIONS
from tests.mutants.evolving import EVOLUTION
from tests.mutants.exchanging import EXCHANGING
from tests.mutants.following import FOLLOWING
from tests.mutants.handling import HANDLERS_IN_THREADS
from tests.mutants.joining import JOINED
from tests.mutants.mutant import Mutant
from tests.mutants.naming import HANDLERS_OF_A_NAME
from tests.mutants.postgres import POSTGRES
from tests.mutants.postgres_checkpoints import POSTGRES_CHECKPOINTS
from tests.mutants.printing import PRINTED
from tests.mutants.projecting import STATES_OF_STREAMS
from tests.mutants.purging import PURGING
from tests.mutants.reaching import REACHING
from tests.mutants.rebuilding import REBUILDS
from tests.mutants.rules import RULES
from tests.mutants.sequencing import SEQUENCER
from tests.mutants.serving import SERVING
from tests.mutants.storing import FILES
from tests.mutants.synchronising import SYNCHRONISING
from tests.mutants.unfolding import UNFOLDED

GROUPS: dict[str, list[Mutant]] = {
    "files": FILES,
    "PostgreSQL": POSTGRES,
    "joined": JOINED,
    "sequencer": SEQUENCER,
    "rules": RULES,
    "committer": COMMITTER,
    "following": FOLLOWING,
    "checkpoints": CHECKPOINTS,
    "checkpoints in PostgreSQL": POSTGRES_CHECKPOINTS,
    "states": STATES_OF_STREAMS,
    "rebuilds": REBUILDS,
    "effects": EFFECTS_OF_SUBSCRIPTIONS,
    "handlers of a name": HANDLERS_OF_A_NAME,
    "handlers in threads": HANDLERS_IN_THREADS,
    "unfolded": UNFOLDED,
    "synchronising": SYNCHRONISING,
    "serving": SERVING,
    "reaching": REACHING,
    "evolution": EVOLUTION,
    "printed events": PRINTED,
    "exchanging": EXCHANGING,
    "purging": PURGING,
}
MUTANTS = [mutant for group in GROUPS.values() for mutant in group]
