"""Mutants of how a hub far away is reached."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SYNCING = "tests/client/test_syncing.py::"
HTTP = "tests/client/test_http.py::"
ADDRESS = "tests/client/test_address.py::"
FAR = "tests/client/test_far.py::"
AHEAD = "tests/client/test_ahead.py::"
ASKED = SYNCING + "test_who_asks_to_be_told_is_told_of_all_that_is_at_the_hub"
LINES = "tests/wire/test_lines.py::test_a_line_that_was_changed_is_read_as_it_is_in_general"
STRANGERS = HTTP + "test_what_is_no_hub_is_a_transport_that_failed"

REACHING = [
    Mutant(
        "who waits to be in step asks",
        "what a hub has told by itself is not taken for all that it has",
        "sync/syncing.py",
        "        ask = ask or self._wanted > self._in_step_since\n",
        "",
        (ASKED,),
    ),
    Mutant(
        "that there is no more is asked anew",
        "that there is no more is never taken from what was asked for before somebody wanted it",
        "client/ahead.py",
        "if pulled is not None and not pulled.up_to_date:",
        "if pulled is not None:",
        (AHEAD + "test_that_there_is_no_more_is_never_taken_from_what_was_asked_ahead",),
    ),
    Mutant(
        "another piece than was asked ahead",
        "what was asked for ahead is given only to who wants just that",
        "client/ahead.py",
        "if not self._coming[0].is_of(asked, size):",
        "if self._coming[0].asked.hub == '':",
        (AHEAD + "test_what_is_wanted_from_elsewhere_is_asked_for_anew",),
    ),
    Mutant(
        "that there is no more is read anew",
        "who asks a hub is not told that there is no more by a read from before they asked",
        "server/live.py",
        "and (is_told or not kept[1].pulled.up_to_date)",
        "and len(kept) == 2",
        (SYNCING + "test_who_asks_at_the_same_time_as_others_is_told_of_all_too",),
    ),
    Mutant(
        "what is read at once is compared",
        "a text in which more stands than was found in it is read by whoever takes every form",
        "wire/many_lines.py",
        "if _encode(lines) != text:",
        "if not _encode(lines):",
        (LINES,),
    ),
    Mutant(
        "hex of what is read quickly",
        "bytes that are not written in lower-case hex are refused, however lines are read",
        "wire/json_text.py",
        "return raw if raw.hex() == text else None",
        "return raw if raw.hex() == text.lower() else None",
        (LINES,),
    ),
    Mutant(
        "events that are kept back",
        "a proxy that keeps back what a hub tells is not listened through again and again",
        "client/listening.py",
        "self.is_kept_back = limit.expired()",
        "self.is_kept_back = False",
        (SYNCING + "test_a_proxy_that_keeps_events_back_is_noticed_and_passed_by",),
    ),
    Mutant(
        "redirects",
        "a token is not taken to where a redirect leads",
        "client/http.py",
        "response = await client.send(request, stream=True, follow_redirects=False)",
        "response = await client.send(request, stream=True, follow_redirects=True)",
        (f"{STRANGERS}[a redirect]",),
    ),
    Mutant(
        "answers without end",
        "an answer of any size is cut off at a limit",
        "client/http.py",
        "                if size > most_bytes:\n                    break",
        "                if size < 0:\n                    break",
        (HTTP + "test_an_endless_body_is_cut_off[by floods]",),
    ),
    Mutant(
        "answers that were unpacked",
        "an answer that is compressed is none",
        "client/http.py",
        'if coding != "identity":',
        'if coding == "":',
        (f"{STRANGERS}[a bomb]",),
    ),
    Mutant(
        "tokens in what is shown",
        "the address of a hub shows no token",
        "client/address.py",
        "token: str | None = field(repr=False)",
        "token: str | None = field()",
        (ADDRESS + "test_a_hub_has_a_url",),
    ),
    Mutant(
        "tokens in the clear",
        "a token goes to another machine by TLS alone, unless somebody says otherwise",
        "client/address.py",
        'if parts.scheme == "http" and not near and not allow_http:',
        'if parts.scheme == "http" and not near and not host:',
        (ADDRESS + "test_what_is_no_url_of_a_hub_is_refused",),
    ),
    Mutant(
        "proxies of the environment",
        "two programs of one machine speak to each other without a proxy",
        "client/http.py",
        "trust_env=not self._address.near,",
        "trust_env=True,",
        (
            HTTP + "test_a_proxy_of_the_environment_does_not_stand_between_two_programs_of_"
            "one_machine",
        ),
    ),
    Mutant(
        "appends whose answer is lost",
        "an append that may have been stored at a hub far away is not called unwritten",
        "client/ledger.py",
        "may_be_stored = may_be_stored or error.was_sent",
        "may_be_stored = may_be_stored and error.was_sent",
        (FAR + "test_an_append_whose_answer_is_lost_is_unknown_and_can_be_repeated",),
    ),
]
