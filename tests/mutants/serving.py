"""Mutants of what a server lets in, and of what it does once for all who ask."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MATRIX = "tests/server/test_matrix.py::"
ANSWERS = "tests/server/test_answers.py::"
SECRETS = "tests/server/test_secrets.py::"
SOCKETS = "tests/server/test_sockets.py::"
PROBES = SECRETS + "test_no_probe_of_any_id_gives_away_what_is_out_of_scope"
TOO_LARGE = ANSWERS + "test_a_body_that_is_compressed_or_too_large_is_not_looked_at"
TWO_HUNDRED = "tests/server/test_fan_out.py::test_two_hundred_who_follow_are_one_look_and_one_read"

SERVING = [
    Mutant(
        "tokens that hold no more",
        "a token that has expired or was revoked lets nobody in",
        "server/application.py",
        "        if not token.holds_at(self._now_ms()):",
        "        if not token.name:",
        (MATRIX + "test_each_role_is_answered_by_each_route_as_the_matrix_says",),
    ),
    Mutant(
        "the secret of a token",
        "to know which tokens there are is not enough",
        "server/tokens.py",
        "return token if same else None",
        "return token",
        (MATRIX + "test_a_token_is_taken_as_it_is_and_in_no_other_form",),
    ),
    Mutant(
        "what guessing costs",
        "who guesses tokens is slowed down",
        "server/application.py",
        "self._of_address.charge(self._address(scope), FAILED_COST)",
        "self._of_address.charge(self._address(scope), 0.0)",
        (MATRIX + "test_who_guesses_tokens_is_slowed_down",),
    ),
    Mutant(
        "the scope of a pull",
        "history is given within the patterns of a token",
        "server/edges.py",
        "        check_scope(asking.caller, scope)\n        ledger = ",
        "        ledger = ",
        (PROBES, MATRIX + "test_each_role_is_answered_by_each_route_as_the_matrix_says"),
    ),
    Mutant(
        "the scope of a read",
        "records are read within the patterns of a token",
        "server/readers.py",
        "check_selection(caller, selection, await members_of(self._ledger, caller.pull))",
        "await members_of(self._ledger, caller.pull)",
        (PROBES, SECRETS + "test_a_page_that_is_sent_back_changed_is_judged_anew"),
    ),
    Mutant(
        "pages that are sent back",
        "a selection that a client says is resolved is judged as any other",
        "server/access.py",
        "if selection.resolved and (selection.relation is not None or selection.until is None):",
        "if selection.resolved and selection.until == -1:",
        (SECRETS + "test_a_page_that_is_sent_back_changed_is_judged_anew",),
    ),
    Mutant(
        "the scope of ids",
        "an event that is not for who asks is not found by its id",
        "server/readers.py",
        "if record is not None and not may_see(pull, record.stream, record.type, members):",
        "if record is None:",
        (
            PROBES,
            SECRETS + "test_what_is_out_of_scope_is_answered_as_what_is_not_there",
        ),
    ),
    Mutant(
        "the patterns of a push",
        "what a token may not write is refused, event by event",
        "server/access.py",
        "elif may_see(caller.push, record.stream, record.type, members) or vouched(offer):",
        "elif record.stream:",
        (MATRIX + "test_a_push_outside_of_the_patterns_is_rejected_event_by_event",),
    ),
    Mutant(
        "who joins a relation",
        "who may write into a relation does not put the streams of others into it",
        "server/access.py",
        "return pattern.prefix is not None and stream.startswith(pattern.prefix)",
        "return pattern.prefix is None or stream.startswith(pattern.prefix)",
        (MATRIX + "test_who_is_in_a_relation_is_not_changed_by_who_may_write_a_stream", PROBES),
    ),
    Mutant(
        "the ledger of a token",
        "a token writes for one ledger, so nobody writes in the name of another",
        "server/edges.py",
        "if caller.ledger is not None and caller.ledger != ledger:",
        'if caller.ledger == "":',
        (MATRIX + "test_a_token_belongs_to_the_ledger_that_comes_first",),
    ),
    Mutant(
        "the scope in a cursor",
        "a cursor of another scope is refused: what that left out would be missing",
        "server/edges.py",
        "if cursor.mark != BEGINNING and cursor.scope_id not in (None, given):",
        'if cursor.scope_id == "":',
        (
            ANSWERS + "test_a_cursor_of_another_scope_is_refused",
            ANSWERS + "test_a_cursor_is_refused_once_the_relation_has_changed",
        ),
    ),
    Mutant(
        "what a scope is called",
        "who may read a part of a relation does not learn by trying which streams are in it",
        "server/sealing.py",
        "if secret is None or scope.relation is None:",
        "if secret is None or scope.relation is not None:",
        (SECRETS + "test_what_a_scope_is_called_does_not_tell_who_else_is_in_its_relation",),
    ),
    Mutant(
        "hosts that others reach",
        "without tokens nobody but this machine is served",
        "server/serving.py",
        "    if is_loopback(host):\n        return\n",
        "    if host:\n        return\n",
        (SOCKETS + "test_a_host_that_others_reach_needs_tokens_and_tls",),
    ),
    Mutant(
        "web pages",
        "a web page does not reach a server of this machine",
        "server/application.py",
        'if "origin" in headers:',
        'if "no-such-header" in headers:',
        (ANSWERS + "test_without_tokens_it_answers_no_other_host_and_no_web_page",),
    ),
    Mutant(
        "what the storage says",
        "paths, hosts and statements stay at home",
        "wire/problems.py",
        "detail = str(error)[:MAX_WORDS] if crossing.is_told else title",
        "detail = str(error)[:MAX_WORDS]",
        ("tests/wire/test_round_trips.py::test_what_the_storage_says_stays_at_home",),
    ),
    Mutant(
        "what a failure says",
        "the log says where it failed, and nothing of what it was given",
        "server/application.py",
        "self._route, type(error).__name__, where)",
        "self._route, error, where)",
        (SECRETS + "test_planted_secrets_are_in_no_log_error_trace_or_repr",),
    ),
    Mutant(
        "the size of a body",
        "a body that says it is small and is not is cut off",
        "server/asking.py",
        "                    if size > limit:",
        "                    if size < 0:",
        (TOO_LARGE,),
    ),
    Mutant(
        "a share of the bodies",
        "who sends large bodies slowly does not keep the others from sending theirs",
        "server/asking.py",
        "        if self._of[whose] + size > self._each:",
        "        if self._of[whose] + size < 0:",
        (SOCKETS + "test_slow_bodies_of_one_token_leave_room_for_those_of_others",),
    ),
    Mutant(
        "bodies that are compressed",
        "nothing is unpacked that could be any size",
        "server/application.py",
        '.strip().lower() != "identity":',
        '.strip().lower() == "none":',
        (TOO_LARGE,),
    ),
    Mutant(
        "one look for all",
        "hundreds who wait are one look at the log",
        "server/live.py",
        "if self._task is None or self._task.done():",
        "if self._waiting:",
        (TWO_HUNDRED,),
    ),
    Mutant(
        "one read for all",
        "a piece of history is read once for all who are at the same place",
        "server/live.py",
        "task = self._reading.get(key)",
        "task = self._reading.get((key[0], key[1], -1))",
        (TWO_HUNDRED,),
    ),
    Mutant(
        "the epoch of what is kept",
        "a piece from before another epoch is not taken for one of it",
        "server/edges.py",
        'W/"{pulled.end.chain.hex()}.{pulled.epoch}"',
        'W/"{pulled.end.chain.hex()}"',
        (ANSWERS + "test_a_piece_that_is_known_is_not_sent_again_until_another_epoch_has_begun",),
    ),
    Mutant(
        "what is not stable",
        "what a fail-over can take back is not kept",
        "server/edges.py",
        " or pulled.end.position > pulled.stable:",
        ":",
        (ANSWERS + "test_what_is_below_the_head_may_be_kept_and_the_head_not",),
    ),
]
