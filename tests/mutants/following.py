"""Mutants of what followers rely on: resume tokens, pages of one history, waking."""

from __future__ import annotations

from tests.mutants.mutant import MEMORY, POSTGRES, SQLITE, Mutant

REFUSED = "test_a_token_is_refused_where_anything_of_it_is_another"
LOST_TAIL = "test_a_log_that_lost_its_tail_is_read_on_where_it_agrees_and_nowhere_else"
ONE_HISTORY = "test_the_pages_of_one_reading_are_never_of_two_histories"
FEED = "tests/subscriptions/test_feed.py::"
FIRST_PAGE = "tests/adapters/test_postgres_first_page.py::"
ELSEWHERE = "test_a_page_behind_a_place_is_refused_where_that_is_another_however_it_is_read"
PREFIX = "test_a_prefix_is_taken_as_it_is_written_code_point_by_code_point"
WAITING = "tests/ports/test_waiting.py::"
WAKING = "tests/adapters/test_postgres_waking.py::"

FOLLOWING = [
    Mutant(
        "the chain in a token",
        "a token is more than a position: it stands for all up to there",
        "core/token.py",
        "if not ended and token.chain == chain:",
        "if not ended and chain is not None:",
        (
            MEMORY + REFUSED,
            MEMORY + LOST_TAIL,
            SQLITE + "test_a_restored_backup_is_read_on_where_it_agrees_and_nowhere_else",
            "tests/store/test_resuming.py::test_whatever_two_histories_share_is_resumed_whole_and_the_rest_is_refused",
        ),
    ),
    Mutant(
        "the end in a token",
        "a log that ends before a token's position is told from one that has another record there",
        "core/token.py",
        "ended = token.position > position",
        "ended = token.position < 0",
        (MEMORY + LOST_TAIL,),
    ),
    Mutant(
        "the ledger in a token",
        "a token of another ledger is refused",
        "core/token.py",
        "if token.ledger != ledger:",
        'if token.ledger == "":',
        (MEMORY + REFUSED,),
    ),
    Mutant(
        "the epoch in a token",
        "a token from before a restore or promotion that was made known is refused",
        "core/token.py",
        "if token.epoch != epoch:",
        'if token.epoch == "":',
        (MEMORY + REFUSED,),
    ),
    Mutant(
        "the checksum of a token",
        "a token that was changed on its way is no token",
        "core/token.py",
        "if not content or checksum != _checksum(content):",
        "if not content:",
        (
            "tests/core/test_token.py::test_a_token_with_any_character_changed_lost_or_added_is_refused",
        ),
    ),
    Mutant(
        "pages of one history in memory",
        "a later page is of the log that the first page was of",
        "adapters/memory/reading.py",
        "chain = tables.chain_at(until)",
        "chain = None",
        (
            MEMORY + ONE_HISTORY,
            "tests/store/test_resuming.py::test_a_reading_does_not_go_over_to_another_history_between_two_pages",
        ),
    ),
    Mutant(
        "pages of one history in SQLite",
        "a later page is of the log that the first page was of",
        "adapters/sqlite/reading.py",
        "seen = None if chain is None else",
        "seen = None if chain is not None else",
        (SQLITE + ONE_HISTORY,),
    ),
    Mutant(
        "pages of one history in PostgreSQL",
        "a later page is of the log that the first page was of",
        "adapters/postgres/paging.py",
        "where = schema.OF_ONE_HISTORY + where",
        "where = where + ''",
        (POSTGRES + ONE_HISTORY,),
    ),
    Mutant(
        "what happens during a look",
        "a hint that comes while it is looked is not forgotten",
        "ports/waiting.py",
        "head = await self._look()",
        "head = await self._look(); self._hint.clear()",
        (WAITING + "test_what_happens_during_a_look_is_looked_for_again",),
    ),
    Mutant(
        "who comes during a look",
        "nobody is told what was found before they asked",
        "ports/waiting.py",
        "for future, position in asked:",
        "for future, position in list(self._waiting.items()):",
        (WAITING + "test_who_comes_during_a_look_is_not_told_what_was_before",),
    ),
    Mutant(
        "one look for all whose time is up",
        "a thousand who waited in vain cost one look",
        "ports/waiting.py",
        "return await self._answer(-1)",
        "return await self._look()",
        (WAITING + "test_one_look_tells_all_whose_time_is_up_at_once",),
    ),
    Mutant(
        "the last who stops waiting",
        "nothing looks for nobody",
        "ports/waiting.py",
        "            if not self._waiting:\n",
        "            if not future:\n",
        (WAITING + "test_the_last_who_leaves_ends_the_task",),
    ),
    Mutant(
        "closing ends waits",
        "nobody waits for a store that is closed",
        "ports/waiting.py",
        "        self._closed = error\n        for future in self._waiting:",
        "        self._closed = error\n        for future in ():",
        (MEMORY + "test_closing_ends_every_wait",),
    ),
    Mutant(
        "the last of many commits",
        "a commit that carried no NOTIFY is told when no other comes",
        "adapters/postgres/waking.py",
        "elif self._timer is None:",
        "elif self._timer is self:",
        (WAKING + "test_a_follower_elsewhere_is_woken_by_the_notification_alone",),
    ),
    Mutant(
        "the last commit before closing",
        "a store that closes leaves no commit untold",
        "adapters/postgres/waking.py",
        "        if self._sent_at < self._committed_at:\n            self._sent_at",
        "        if self._sent_at < 0:\n            self._sent_at",
        (WAKING + "test_what_a_closing_store_appended_last_is_told_before_it_is_gone",),
    ),
    Mutant(
        "what was said before it listened",
        "who begins to listen looks once more",
        "adapters/postgres/waking.py",
        "self._waiting.hint()  # of what was said meanwhile nothing was heard",
        "pass",
        (WAKING + "test_what_was_appended_while_nobody_listened_is_found_by_who_listens_again",),
    ),
    Mutant(
        "the history of a follower",
        "each page that is followed is of the history in which the one before it ended",
        "subscriptions/feed.py",
        "after=self._position, seen=self._seen)",
        "after=self._position, seen=None)",
        (
            FEED + "test_where_the_log_is_exchanged_beneath_it_it_says_so_and_skips_nothing[2-3]",
            FEED + "test_between_two_pages_of_what_there_was_it_says_so_too",
        ),
    ),
    Mutant(
        "a look at an idle log",
        "who waits at the head of a log that went back is told",
        "subscriptions/feed.py",
        "if head == self._position and now() - self._read_at < LOOK_AGAIN_S:",
        "if head <= self._position:",
        (FEED + "test_where_the_log_is_exchanged_beneath_it_it_says_so_and_skips_nothing[2-0]",),
    ),
    Mutant(
        "where a page ends",
        "a follower goes on behind the last record of a page and not behind the head",
        "subscriptions/feed.py",
        "self._position = last.position",
        "self._position = end.until or 0",
        (
            FEED + "test_it_gives_what_there_is_page_by_page_and_then_what_comes",
            MEMORY + "test_pages_go_over_into_what_comes_without_a_seam",
        ),
    ),
    Mutant(
        "the place of what is left out",
        "a token moves past what is not followed, so that it is not searched again",
        "subscriptions/feed.py",
        "if end.seen is not None and end.seen.position == self._position:",
        "if end.seen is None:",
        (FEED + "test_its_position_moves_past_what_is_left_out_and_so_does_its_token",),
    ),
    Mutant(
        "the end of a page in SQLite",
        "whoever reads to the head knows in which history it stands",
        "adapters/sqlite/reading.py",
        "if page.cursor is None and selection.order is Order.CREATED:",
        "if page.cursor is None:",
        (SQLITE + "test_a_page_says_where_in_which_history_it_ends",),
    ),
    Mutant(
        "a place in the trip of its page",
        "what stands where a reader was is looked at in the statement of the page",
        "adapters/postgres/first_page.py",
        "chain=None if chain is None else bytes.fromhex(chain),",
        "chain=seen.chain,",
        (
            POSTGRES + REFUSED,
            FIRST_PAGE
            + "test_a_page_behind_a_place_is_refused_where_that_is_another_however_it_is_read",
        ),
    ),
    Mutant(
        "one trip for a follower",
        "a page behind a place costs no statement more",
        "adapters/postgres/reading.py",
        "        if found is not None:\n            return found.page\n",
        "        if found is not None:\n            if seen is not None:\n"
        "                yield from _require(seen)\n            return found.page\n",
        (FIRST_PAGE + "test_a_read_or_a_fold_of_one_page_is_one_trip",),
    ),
    Mutant(
        "a prefix in memory",
        "a prefix stands at the beginning of a name",
        "adapters/memory/reading.py",
        "record.stream.startswith(prefix)",
        "prefix in record.stream",
        (MEMORY + PREFIX,),
    ),
    Mutant(
        "a prefix in SQLite",
        "a prefix is text and not a pattern",
        "adapters/sqlite/reading.py",
        "substr(stream, 1, ?) = ?",
        "substr(stream, 1, ?) LIKE ?",
        (SQLITE + PREFIX,),
    ),
    Mutant(
        "a prefix in PostgreSQL",
        "a prefix is text and not a pattern",
        "adapters/postgres/paging.py",
        "left(stream, char_length(%(prefix)s)) = %(prefix)s",
        "stream LIKE (%(prefix)s || chr(37))",
        (POSTGRES + PREFIX,),
    ),
    Mutant(
        "who is caught up",
        "whoever waits to be caught up is told when the last record was handed out",
        "store/following.py",
        "if position <= self._position and not future.done():",
        "if position < self._position and not future.done():",
        (MEMORY + "test_caught_up_returns_when_all_up_to_there_was_handed_out",),
    ),
    Mutant(
        "closing ends who waits to be caught up",
        "nobody waits beside a loop of a store that is closed",
        "store/event_store.py",
        "for following in list(self._followings):",
        "for following in list(self._followings)[:0]:",
        (MEMORY + "test_closing_ends_it_wherever_it_waits",),
    ),
    Mutant(
        "one loop over a following",
        "two loops do not take each other's records",
        "store/following.py",
        "if self._filling:",
        "if self._filling is None:",
        (MEMORY + "test_two_at_once_over_one_following_are_refused",),
    ),
]
