"""Tokens: who may ask a server, and for what.

They live in a file of their own and not in the hub's database: a database that is set back to a
backup, or fails over to a standby that is behind, must not bring back a token that was revoked. The
file holds no secret, only SHA-256 of them: a secret has 256 random bits, so there is nothing to
guess, and nothing that a slower hash would add.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from everlog.core.stream import check_name
from everlog.errors import InvalidInput, InvalidMessage, NotAllowed, NotFound, StorageFailed
from everlog.server.locking import locked, sync_folder
from everlog.wire.json_text import (
    a_list,
    a_text,
    item_object,
    number,
    number_or_none,
    octets,
    read_object,
    text,
    text_or_none,
)

PREFIX = "evl"
"""What a token begins with, so that scanners for secrets know one."""
MOST_TOKENS = 10_000
MOST_PATTERNS = 100
_FORMAT = 1
_FILE_BYTES = 64 * 1024 * 1024
_LOOK_AGAIN_S = 0.5

_log = logging.getLogger("everlog.server")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which events a token is for: those that meet each condition; without any, all events.

    >>> from everlog.server import Pattern
    >>> Pattern.parse("prefix=order-,type=order:placed")
    Pattern(prefix='order-', relation=None, types=('order:placed',))
    """

    prefix: str | None = None
    """Of streams whose names begin so."""
    relation: str | None = None
    """Of streams that are in this relation at the hub."""
    types: tuple[str, ...] | None = None
    """Of these types alone."""

    @staticmethod
    def parse(text: str) -> Pattern:
        """Returns the pattern of a text such as `all`, `prefix=order-` or `relation=eu,type=a`.

        Raises `InvalidInput`. A value goes up to the next comma.
        """
        if text == "all":
            return Pattern()
        found: dict[str, str] = {}
        types: list[str] = []
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals or name not in ("prefix", "relation", "type") or name in found:
                raise InvalidInput(
                    f"{text!r} is no pattern; write all, or prefix=..., relation=..., type=... "
                    "with commas between them, such as prefix=order-,type=order:placed"
                )
            check_name(name, value)
            if name == "type":
                types.append(value)
            else:
                found[name] = value
        return Pattern(found.get("prefix"), found.get("relation"), tuple(types) or None)

    @property
    def is_all(self) -> bool:
        """Whether it is all events."""
        return self == Pattern()

    def __str__(self) -> str:
        parts = [] if self.prefix is None else [f"prefix={self.prefix}"]
        parts += [] if self.relation is None else [f"relation={self.relation}"]
        parts += [f"type={type}" for type in self.types or ()]
        return ",".join(parts) or "all"


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret.

    >>> from everlog.server import Pattern, TokenFile
    >>> tokens = TokenFile("hub.tokens")
    >>> secret = tokens.create("reports", pull=[Pattern()])
    >>> [token] = tokens.tokens()
    >>> token.name, token.expires_ms, token.holds_at(1_800_000_000_000)
    ('reports', None, True)
    """

    name: str
    """What its operator calls it: each name is there once."""
    key: str
    """The part of the text by which it is found; not secret."""
    digest: bytes = field(repr=False)
    """SHA-256 of the whole text."""
    created_ms: int
    pull: tuple[Pattern, ...] = ()
    """What it may read: what any of them has."""
    push: tuple[Pattern, ...] = ()
    """What it may write."""
    expires_ms: int | None = None
    """In milliseconds since 1970; None: never."""
    ledger: str | None = None
    """The ledger that writes with it: the first that has said hello, and no other."""
    revoked_ms: int | None = None

    def holds_at(self, now_ms: int) -> bool:
        """Whether it is neither expired nor revoked."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class Tokens(Protocol):
    """Where a server looks tokens up; `TokenFile` is one, and a program may have another.

    >>> from everlog.server import TokenFile, Tokens
    >>> tokens: Tokens = TokenFile("no-such-file")
    >>> tokens.find("0123456789abcdef") is None
    True
    """

    def find(self, key: str) -> Token | None:
        """Returns the token of a key, as it is now; None if there is none. Takes no time.

        Raises `StorageFailed` where that cannot be told: then nobody is let in.
        """
        ...

    def bind(self, key: str, ledger: str) -> Token:
        """Returns a token that belongs to a ledger from now on, or did to another before.

        May take a while: it is called in a thread. Raises `NotFound`, `StorageFailed`, and
        `NotAllowed` for a ledger that has another token, one that was revoked as well: otherwise
        whoever has a token without a ledger could write in the name of any.
        """
        ...


class TokenFile:
    """Tokens in a file, for one server or several on the same file system.

    A change of the file, also by another process, counts after half a second.

    >>> from everlog.server import Pattern, TokenFile
    >>> tokens = TokenFile("tokens.json")
    >>> secret = tokens.create("shop", pull=[Pattern()], push=[Pattern(prefix="order-")])
    >>> [(token.name, str(token.push[0])) for token in tokens.tokens()]
    [('shop', 'prefix=order-')]
    >>> tokens.revoke("shop")
    """

    def __init__(
        self, path: str | os.PathLike[str], *, now_s: Callable[[], float] = time.time
    ) -> None:
        """`now_s`: the wall clock, in seconds since 1970. The file need not exist yet."""
        self._path = Path(path)
        self._now_s = now_s
        self._seen: tuple[int, int, int] | None = None
        self._looked_s = -1.0
        self._by_key: dict[str, Token] = {}
        self._is_readable = True

    def create(
        self,
        name: str,
        *,
        pull: Sequence[Pattern] = (),
        push: Sequence[Pattern] = (),
        expires_ms: int | None = None,
        ledger: str | None = None,
    ) -> str:
        """Makes a token and returns its text: that is the only time that anybody sees it.

        - `expires_ms`: in milliseconds since 1970
        - `ledger`: the id of the only ledger that writes with it; otherwise the first that comes

        Raises `InvalidInput` for a name that is taken, or a token that may do nothing.
        """
        check_name("token", name)
        if not (pull or push):
            raise InvalidInput(f"token {name!r} may do nothing: give it pull or push patterns")
        if max(len(pull), len(push)) > MOST_PATTERNS:
            raise InvalidInput(f"token {name!r} has over {MOST_PATTERNS} patterns")
        now_ms = self._now_ms()
        if expires_ms is not None and expires_ms <= now_ms:
            raise InvalidInput(f"token {name!r} would have expired before it was made")
        with self._changing() as tokens:
            if any(token.name == name for token in tokens):
                raise InvalidInput(f"there is a token {name!r} already; take another name")
            if len(tokens) >= MOST_TOKENS:
                raise InvalidInput(f"there are {MOST_TOKENS:,} tokens already; revoke some")
            key = secrets.token_hex(8)
            plain = f"{PREFIX}_{key}_{secrets.token_urlsafe(32)}"
            made = Token(
                name, key, digest_of(plain), now_ms, tuple(pull), tuple(push), expires_ms, ledger
            )
            tokens.append(made)
        return plain

    def tokens(self) -> list[Token]:
        """Returns all tokens, revoked ones as well, in the order in which they were made."""
        return self._read()

    def revoke(self, name: str) -> None:
        """Takes a token back for ever; raises `NotFound` if there is none of this name."""
        with self._changing() as tokens:
            for index, token in enumerate(tokens):
                if token.name == name:
                    if token.revoked_ms is None:
                        tokens[index] = replace(token, revoked_ms=self._now_ms())
                    return
            raise NotFound(f"there is no token {name!r}")

    def find(self, key: str) -> Token | None:
        """Returns the token of a key, as it is now; None if there is none.

        Raises `StorageFailed` where the file cannot be read.
        """
        now_s = time.monotonic()
        if self._looked_s < 0 or now_s - self._looked_s >= _LOOK_AGAIN_S:
            self._looked_s = now_s
            try:
                self._look()
                self._is_readable = True
            except InvalidInput as error:
                # For the operator, and not for who asks: it names the file.
                _log.error("nobody is let in: %s", error)
                self._seen, self._by_key, self._is_readable = None, {}, False
        if not self._is_readable:
            raise StorageFailed("the tokens cannot be read")
        return self._by_key.get(key)

    def bind(self, key: str, ledger: str) -> Token:
        """Returns a token that belongs to a ledger from now on, or did to another before.

        Raises `NotFound`, `NotAllowed` for a ledger that has another token, and `StorageFailed`.
        """
        try:
            with self._changing() as tokens:
                return _bound(tokens, key, ledger)
        except InvalidInput as error:
            _log.error("a token cannot be bound to its ledger: %s", error)
            raise StorageFailed("the tokens cannot be changed") from error

    def _look(self) -> None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._by_key = None, {}
            return
        except OSError as error:
            raise InvalidInput(f"the tokens in {self._path} cannot be read: {error}") from error
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._by_key = {token.key: token for token in self._read()}
            self._seen = seen

    def _read(self) -> list[Token]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidInput(f"the tokens in {self._path} cannot be read: {error}") from error
        return tokens_of(content, self._path)

    @contextmanager
    def _changing(self) -> Generator[list[Token]]:
        """Gives the tokens to be changed, alone, and puts them in the file's place as a whole."""
        with self._locked():
            tokens = self._read()
            before = list(tokens)
            yield tokens
            if tokens != before:
                self._write(tokens)
                self._looked_s = -1.0

    @contextmanager
    def _locked(self) -> Generator[None]:
        # Beside it: the file itself is replaced, and a lock stays with the one that was.
        path = self._path.with_name(self._path.name + ".lock")
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(path))
            except OSError as error:
                said = f"the tokens in {self._path} cannot be changed: {error}"
                raise InvalidInput(said) from error
            yield

    def _write(self, tokens: Sequence[Token]) -> None:
        content = json.dumps(
            {"format": _FORMAT, "tokens": [_fields(token) for token in tokens]}, indent=1
        )
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
            sync_folder(self._path.parent)  # so that what was revoked stays revoked
        except OSError as error:
            raise InvalidInput(f"the tokens in {self._path} cannot be changed: {error}") from error
        finally:
            with suppress(OSError):
                os.unlink(draft)

    def _now_ms(self) -> int:
        return int(self._now_s() * 1_000)


def _bound(tokens: list[Token], key: str, ledger: str) -> Token:
    """Returns the token of a key, once it has a ledger: this one, if it had none."""
    for index, token in enumerate(tokens):
        if token.key != key:
            continue
        if token.ledger is None:
            if any(other.ledger == ledger for other in tokens):
                raise NotAllowed(
                    f"ledger {ledger} has had another token: to give it token {token.name!r}, it "
                    "has to be created with this ledger (everlog token create ... --ledger)"
                )
            tokens[index] = replace(token, ledger=ledger)
        return tokens[index]
    raise NotFound("the token is gone")


def digest_of(plain: str) -> bytes:
    """Returns what is kept of a token's text."""
    return hashlib.sha256(plain.encode("utf-8", "surrogateescape")).digest()


def find(tokens: Tokens, plain: str) -> Token | None:
    """Returns the token of a text; None for what is none. Compares in constant time."""
    parts = plain.split("_", 2)
    token = tokens.find(parts[1]) if len(parts) == 3 and parts[0] == PREFIX else None
    # Compared in any case: who asks does not learn by the time which keys there are.
    same = hmac.compare_digest(digest_of(plain), _NOBODY if token is None else token.digest)
    return token if same else None


_NOBODY = bytes(32)


def tokens_of(content: bytes, path: Path) -> list[Token]:
    """Returns the tokens in the content of a file; raises `InvalidInput` for what is none."""
    try:
        fields = read_object(content, at="file", limit=_FILE_BYTES)
        if fields.get("format") != _FORMAT:
            raise InvalidMessage("file.format", f"must be {_FORMAT}; a newer everlog wrote it")
        return list(a_list(fields, "tokens", _token, at="file", most=MOST_TOKENS))
    except InvalidMessage as error:
        raise InvalidInput(f"{path} holds no tokens: {error}") from error


def _fields(token: Token) -> dict[str, object]:
    return {
        "name": token.name,
        "key": token.key,
        "sha256": token.digest.hex(),
        "created_ms": token.created_ms,
        "pull": [str_fields(pattern) for pattern in token.pull],
        "push": [str_fields(pattern) for pattern in token.push],
        "expires_ms": token.expires_ms,
        "ledger": token.ledger,
        "revoked_ms": token.revoked_ms,
    }


def str_fields(pattern: Pattern) -> dict[str, object]:
    """Returns a pattern as an object."""
    types = None if pattern.types is None else list(pattern.types)
    return {"prefix": pattern.prefix, "relation": pattern.relation, "types": types}


def _token(value: object, at: str) -> Token:
    fields = item_object(value, at)
    return Token(
        text(fields, "name", at=at),
        text(fields, "key", at=at),
        octets(fields, "sha256", at=at, size=32),
        number(fields, "created_ms", at=at),
        a_list(fields, "pull", _pattern, at=at, most=MOST_PATTERNS),
        a_list(fields, "push", _pattern, at=at, most=MOST_PATTERNS),
        number_or_none(fields, "expires_ms", at=at),
        text_or_none(fields, "ledger", at=at),
        number_or_none(fields, "revoked_ms", at=at),
    )


def _pattern(value: object, at: str) -> Pattern:
    fields: dict[str, Any] = item_object(value, at)
    types: tuple[str, ...] | None = None
    if fields.get("types") is not None:
        types = a_list(fields, "types", a_text, at=at, most=MOST_PATTERNS)
    return Pattern(
        text_or_none(fields, "prefix", at=at), text_or_none(fields, "relation", at=at), types
    )
