"""A store offered over HTTP, to edges as their hub; it is given the store, and never builds it."""

from __future__ import annotations

from everlog.server.limits import Limits
from everlog.server.tokens import Pattern, Token, TokenFile, Tokens

try:
    from everlog.server.application import Application, app
    from everlog.server.serving import Server, serve
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        f"everlog.server needs {error.name}: pip install 'everlog[server]'", name=error.name
    ) from error

__all__ = [
    "Application",
    "Limits",
    "Pattern",
    "Server",
    "Token",
    "TokenFile",
    "Tokens",
    "app",
    "serve",
]
