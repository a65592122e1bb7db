"""Roles and tokens. A token is 256 random bits; only its SHA-256 is kept, so the store reveals none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from admin.clock import utc_now
from admin.state.store import Store, StoreUnusableError, Token

TOKEN_FILE = "admin.token"  # noqa: S105 - a file's name
BOOTSTRAP = "admin"


class Role(IntEnum):
    """Each may do what those below it may: read; change traffic; change configuration and tokens."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls; `name` is what the audit log says."""

    name: str
    role: Role


def digest_of(token: str) -> str:
    """What a header has that is no UTF-8 comes with surrogates in its place."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


class Tokens:
    """The tokens there are, in memory, which decides: a broken store must neither lock the operators out nor bring back what
    was revoked. Expired ones stay until they are revoked: their owners are told."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._by_name = {token.name: token for token in tokens}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Token]:
        return iter(sorted(self._by_name.values(), key=lambda token: token.name))

    def named(self, name: str) -> Token | None:
        return self._by_name.get(name)

    def put(self, token: Token) -> None:
        self._by_name[token.name] = token

    def remove(self, name: str) -> None:
        del self._by_name[name]

    def find(self, secret: str) -> Token | None:
        """Compares with every token, in constant time each."""
        digest = digest_of(secret)
        found = None
        for token in self._by_name.values():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


def token_of(authorization: str | None, *, safe: bool) -> str | None:
    """The token of an Authorization field: `Bearer TOKEN`, or for a safe method the password of `Basic`.

    Basic lets a browser open /docs and Prometheus use basic_auth. Browsers send it along by themselves, also with requests
    that another site caused, so it changes nothing (no CSRF).
    """
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() != "basic" or not safe:
        return None
    try:
        _, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password or None


async def bootstrap(store: Store, folder: Path) -> Tokens:
    """The first token: made once, kept for its owner in `admin.token` (mode 0600), by digest in the store.

    The file decides: removed, a new token is made at the next start; replaced, the token in it is the one that counts.
    """
    path = folder / TOKEN_FILE
    token = _read_private(path)
    if not token:
        token = secrets.token_urlsafe(32)
        write_private(path, token + "\n")
    digest = digest_of(token)
    known = await store.tokens()
    if not any(each.name == BOOTSTRAP and each.digest == digest for each in known):
        await store.put_token(Token(BOOTSTRAP, digest, "admin", utc_now(), TOKEN_FILE))
        known = await store.tokens()
    return Tokens(known)


def _read_private(path: Path) -> str:
    """The file's text, stripped, empty where there is none; from here on it is its owner's alone. Raises StoreUnusableError."""
    try:
        path.chmod(0o600)
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnusableError(f"{path} cannot be read: {error}") from error


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
