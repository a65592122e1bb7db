"""Tokens of an identity provider: JWTs (RFC 7519), verified here with its keys; a claim says the role.

Until its signature has held, whoever brings a token learns nothing of why it is refused; the log does. joserfc is imported for the
first one, since it takes a sixth of a second.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from admin.allowance import Allowance
from admin.auth import Principal, Role
from admin.clock import iso_of
from admin.jwks import Keys
from admin.logs import Logger
from routing.config_admin import Oidc

LEEWAY = 60  # seconds between the provider's clock and ours
_LONGEST_NAME = 200


@dataclass
class NotOursError(Exception):
    """`detail` is for the caller: empty where nothing may be said. `guess`: it counts as one."""

    detail: str = ""
    guess: bool = True


@dataclass
class NoRoleError(Exception):
    name: str
    detail: str


def may_be_jwt(token: str) -> bool:
    return token.count(".") == 2


class Provider:
    def __init__(self, oidc: Oidc, keys: Keys, log: Logger, now: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self._oidc = oidc
        self._log = log
        self._now = now
        self._said = Allowance(10, 60.0)
        """Lines about refused tokens, which anybody can cause."""

    async def principal(self, token: str) -> Principal:
        """Raises NotOursError, NoRoleError, NoKeysError."""
        try:
            claims = await self._verified(token)
            self._check(claims)
        except _RefusedError as refused:
            self._say(str(refused))
            raise NotOursError(refused.detail, refused.guess) from refused
        name = f"{self._name(claims)} (oidc)"
        role = self._role(claims)
        if role is None:
            where = f"its claim {self._oidc.role_claim!r} has none of the values in admin.oidc.roles"
            raise NoRoleError(name, f"the token of {name} gives no role here: {where}")
        return Principal(name, role)

    async def _verified(self, token: str) -> dict[str, Any]:
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            raise _RefusedError("its header has no alg, or a kid that is no text")
        key = await self.keys.find(kid, algorithm)
        if key is None:
            raise _RefusedError(f"no key, or more than one, is for kid {str(kid)[:100]!r} and {algorithm[:20]!r}")
        from admin.jose import verified

        try:
            return verified(token, key)
        except ValueError as error:
            raise _RefusedError(str(error)) from error

    def _check(self, claims: dict[str, Any]) -> None:
        from admin.jose import ClaimError, ExpiredTokenError, check

        try:
            check(claims, self._oidc.issuer, self._oidc.audience, int(self._now()), LEEWAY)
        except ExpiredTokenError as error:
            raise _RefusedError(
                "it has expired", f"the token expired on {_moment(claims['exp'])}", guess=False
            ) from error
        except ClaimError as error:
            detail = _WRONG.get(error.claim, "the token lacks a claim that is needed, or has one that is not valid")
            raise _RefusedError(str(error), detail) from error

    def _name(self, claims: dict[str, Any]) -> str:
        name = _trusted(claims, self._oidc.name_claim)
        if not isinstance(name, str) or not name:
            name = claims.get("sub")
        if not isinstance(name, str) or not name:
            raise NotOursError(
                f"the token names nobody: it has neither {self._oidc.name_claim!r} nor 'sub'", guess=False
            )
        return "".join(each if each.isprintable() else "?" for each in name[:_LONGEST_NAME])

    def _role(self, claims: dict[str, Any]) -> Role | None:
        """The highest that a value gives. A text is one value, and several with spaces between, as in `scope`."""
        found = _trusted(claims, self._oidc.role_claim)
        values = {found, *found.split()} if isinstance(found, str) else set()
        if isinstance(found, list):
            values = {each for each in found if isinstance(each, str)}
        roles = self._oidc.roles
        for role, wanted in ((Role.ADMIN, roles.admin), (Role.OPERATOR, roles.operator), (Role.VIEWER, roles.viewer)):
            if not values.isdisjoint(wanted):
                return role
        return None

    def _say(self, why: str) -> None:
        now = time.monotonic()
        if self._said.left(now):
            self._said.take(now)
            self._log.warning("a token for OIDC was refused", why=why)


class _RefusedError(Exception):
    """The message is for the log."""

    def __init__(self, why: str, detail: str = "", *, guess: bool = True) -> None:
        super().__init__(why)
        self.detail = detail
        self.guess = guess


_WRONG = {
    "iss": "the token is of another issuer than this gateway's",
    "aud": "the token was made for another audience than this gateway",
    "nbf": "the token is not valid yet",
    "iat": "the token was made in the future",
}


def claim_of(claims: dict[str, Any], name: str) -> Any:
    """By its name, which may have dots in it (`https://example.com/roles`), or else by the path that they make."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _trusted(claims: dict[str, Any], name: str) -> Any:
    """An address that the provider has not verified is anybody's: it names nobody and gives no role. Some say `false` as text."""
    unverified = name == "email" and claims.get("email_verified") in (False, "false", "False")
    return None if unverified else claim_of(claims, name)


def _header(token: str) -> dict[str, Any]:
    """Not verified yet: it only says which key to verify with."""
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _RefusedError("its header cannot be read") from error
    if not isinstance(header, dict):
        raise _RefusedError("its header is no object")
    return header


def _moment(seconds: float) -> str:
    try:
        return iso_of(seconds)
    except (ValueError, OverflowError, OSError):
        return str(seconds)[:40]
