"""`store.ledger.upstreams`: what is known of upstreams.

Made from `everlog.ports.upstreams`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from everlog.blocking.portal import Portal
from everlog.core.record import StoredRecord
from everlog.core.taking import Held, Outside, UpstreamState
from everlog.ports.upstreams import Offers
from everlog.ports.upstreams import Upstreams as AsyncUpstreams


class Upstreams:
    """What a ledger keeps of its upstreams; written by `Ledger.commit` alone.

    There `Take` with a `Link` moves the cursor from `start` to `end`, thins the marks
    (`everlog.core.taking.thinned`), and notes in the copy each of its records that is stored
    here: at the position, with the version and flags that the link's upstream has it, and the
    receipt; an orphan with the version 0. A record that is judged `tampered` is set aside
    (`Held`, with the upstream's record as JSON: the fields of `StoredRecord`, bytes as hex),
    and the cursor passes it: it is never offered. `settled` never goes back but by `Rewind`,
    which sets it to 0. The epoch that is kept joins `past` where another takes its place. The
    first link or rewind makes the state, at `BEGINNING`.

    `Rewind` takes out of the copy what stands above `to`: the versions and receipts stay known.
    It forgets the marks above `to`; `to` is the cursor.

    `Note` adds to the copy what the upstream has and does not give; what it gave with it once
    stays known, and its version there is not. It is that until a link gives it.

    `Purge` makes tombstones: nonce, data and meta of a record go for good, as far as the
    database can do that, and all else of it stays; those of the records of the same event that
    it has replaced go with it. With them go the snapshots of their streams and of all relations
    that were taken at or behind the first of them, and none that was folded from them is stored
    afterwards: of a stream while a tombstone is in it, of a relation with an older revision
    than it has now. A link that gives the content of a tombstone again puts it back in its
    place: its verdict is `duplicate`, as it is nothing new here; snapshots go in the same way.

    A tombstone is left out of every read and fold, and never offered; an append or import of
    its id is a retry, answered with the content that it brings. What it has outdated stays
    outdated.

    `Restamp`, which is the only request of its batch, drops every snapshot at or behind the
    first of its records. What was replaced is not offered and not folded, and is no orphan.

    `Hold` keeps the time of a record that is held already. A held record that turns up in a
    link is released by that.
    """

    def __init__(self, portal: Portal, upstreams: AsyncUpstreams) -> None:
        self._portal = portal
        self._upstreams = upstreams

    def states(self) -> Sequence[UpstreamState]:
        """Returns the state of every upstream, sorted by its id."""
        return self._portal.run(self._upstreams.states)

    def state(self, upstream: str) -> UpstreamState | None:
        """Returns the state of an upstream; None if the ledger has never heard of it."""
        return self._portal.run(self._upstreams.state, upstream)

    def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        """Returns records behind position `after` that the copy has not, at most `size` of them.

        In order of position. There may be fewer, also none, before the end; about 4 MiB of data and
        meta at most, but for a single record that has more. Left out are tombstones, those that are
        held, and all of the streams in which one is held that was not taken: any `Held` without a
        record.
        """
        return self._portal.run(self._upstreams.unconfirmed, upstream, after=after, size=size)

    def outside(self, upstream: str, *, after: int, until: int, size: int) -> Sequence[Outside]:
        """Returns records that the upstream has and does not give, and whose content is here.

        Those behind its position `after`, up to `until`, in its order, at most `size`. None at all
        if anybody else may need them of this ledger, see `Purge`.
        """
        return self._portal.run(
            self._upstreams.outside, upstream, after=after, until=until, size=size
        )

    def first_tombstone(self, stream: str | None = None) -> int | None:
        """Returns the position of the first record whose content went; None if there is none.

        Of one stream, or of all that an upstream has and does not give.
        """
        return self._portal.run(self._upstreams.first_tombstone, stream)

    def held(self, upstream: str) -> Sequence[Held]:
        """Returns what is set aside, oldest first."""
        return self._portal.run(self._upstreams.held, upstream)

    def orphans(self, *, after: int, size: int) -> Sequence[StoredRecord]:
        """Returns the records behind a position that no fold has, in order, at most `size`.

        Those are the ones that were stored with the flag `ORPHAN`, and those that an upstream has
        with it in the last piece of its history that they were in; not those that it has without.
        What has changed so has dropped every snapshot at or behind the record.
        """
        return self._portal.run(self._upstreams.orphans, after=after, size=size)

    def version(self, upstream: str, stream: str, version: int) -> int | None:
        """Returns the version that a stream has there, for who has read it here up to a version.

        That is the greatest that the upstream has given to a record of the stream: after it had
        lost some, the last here need not be the last there. Of the records that the copy has and
        that no fold leaves out, the last one must have this version here; None if it has another
        one, if there is none, if it is only noted, or if one before it stands nowhere in the copy
        and did once: it is not known whether that has its place still.
        """
        return self._portal.run(self._upstreams.version, upstream, stream, version)

    def unfoldings(self) -> int:
        """Returns how often records were taken out of folds, or put back.

        As orphans, or replaced, or as tombstones.

        What was folded before the last of that is not to be stored (`PutSnapshot.unfoldings`), and
        pages of one fold from before it and after it do not belong together.
        """
        return self._portal.run(self._upstreams.unfoldings)

    def revision(self, relation: str) -> int:
        """Returns how often the membership of a relation has changed in this ledger."""
        return self._portal.run(self._upstreams.revision, relation)

    def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        """Returns this ledger's own chain at each position; None where it has no such record.

        At 0 it is the chain that every ledger begins with.
        """
        return self._portal.run(self._upstreams.chains, positions)
