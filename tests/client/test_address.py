"""Where a hub is and what opens it: what cannot be is refused before anything is sent."""

from __future__ import annotations

import pytest

from everlog import InvalidInput
from everlog.client.address import address_of
from everlog.errors import InvalidUrl

TOKEN = "canary-token-5f2e"


@pytest.mark.parametrize(
    ("url", "base", "near"),
    [
        ("https://hub.example.com", "https://hub.example.com", False),
        ("https://hub.example.com/", "https://hub.example.com", False),
        ("https://hub.example.com:8443/everlog/", "https://hub.example.com:8443/everlog", False),
        ("http://127.0.0.1:8400", "http://127.0.0.1:8400", True),
        ("http://[::1]:8400", "http://[::1]:8400", True),
        ("http://localhost:8400", "http://localhost:8400", True),
        ("http://127.9.9.9", "http://127.9.9.9", True),
    ],
)
def test_a_hub_has_a_url(url: str, base: str, near: bool) -> None:
    address = address_of(url, token=TOKEN)
    assert (address.base, address.near, address.token) == (base, near, TOKEN)
    assert TOKEN not in repr(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hub.example.com", "is another machine"),
        ("http://10.0.0.1:8400", "is another machine"),
        ("http://localhost.example.com", "is another machine"),
        ("http://127.0.0.1.example.com", "is another machine"),
        ("http://hub.localhost", "is another machine"),
        ("http://127.0.0.1%25lo", "is another machine"),
        ("http://[::]:8400", "is another machine"),
        ("https://user:secret@hub.example.com", "user or password"),
        ("https://hub.example.com?token=secret", "passed as token="),
        ("https://hub.example.com#secret", "passed as token="),
        ("https://hub.example.com?", "passed as token="),
        ("https://", "names no host"),
        ("https:hub.example.com", "begins with https://"),
        ("ftp://hub.example.com", "begins with https://"),
        ("https://hub.example.com:99999", "host or port"),
        ("https://[::1", "host or port"),
        ("https://hub.example.com/a b", "character"),
        ("https://hub.example.com/a\nb", "character"),
        ("https://h\u00fcb.example.com", "character"),
    ],
)
def test_what_is_no_url_of_a_hub_is_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidUrl, match=words) as caught:
        address_of(url, token=TOKEN)
    assert "secret" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_http_to_another_machine_is_for_who_says_so() -> None:
    assert not address_of("http://hub.internal:8400", token=None, allow_http=True).near


@pytest.mark.parametrize(
    "token", ["", "two words", "line\nbreak", "caf\u00e9", "x" * 5000, b"bytes", 7]
)
def test_what_is_no_token_is_refused_and_not_shown(token: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        address_of("https://hub.example.com", token=token)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert not str(token).strip() or str(token) not in str(caught.value)
