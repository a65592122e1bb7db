"""Creating and revoking tokens: in force in memory at once, then kept with their audit entries."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, time

from admin.audit import Auditor, Intent
from admin.auth import BOOTSTRAP, TOKEN_FILE, Role, Tokens, digest_of
from admin.clock import iso, moment_of
from admin.gateway import Gateway
from admin.live import FieldError
from admin.refusals import InvalidFieldsError, TokenStandsError, UnknownTokenError
from admin.state.store import Change, Token

# By which a token can be told from other secrets, by people and by scanners of sources.
PREFIX = "hgt_"
MOST = 1000
# What the audit log calls changes that no person asked for.
_NOBODY = frozenset({"configuration", "file", "headgate", "rollout", "sighup", "unknown"})
_FORMS = "must be how long it holds, such as 90d or 12h, a date such as 2027-01-31, or a time with its offset from UTC"


def expiry_of(text: str, now: datetime) -> str:
    """The moment that `90d`, `2027-01-31` (the end of that day in UTC) or `2027-01-31T12:00:00+01:00` means. Raises ValueError."""
    moment = moment_of(text, _FORMS, time(23, 59, 59), lambda span: now + span)
    if moment <= now:
        raise ValueError(f"is over already: {iso(moment)}")
    return iso(moment)


class Issuer:
    """Raises a RefusedError where it can't be done, and then nothing has changed."""

    def __init__(self, gateway: Gateway, tokens: Tokens) -> None:
        self._gateway = gateway
        self._tokens = tokens

    async def create(
        self, name: str, role: Role, expires: str | None, intent: Intent, now: datetime
    ) -> tuple[Token, str, bool]:
        """What is known of it, the token itself, and whether it is on the disk. A dry run makes a token that is not known."""
        if name == BOOTSTRAP:
            raise TokenStandsError(f"the token {name!r} is the one in the file {TOKEN_FILE}")
        if name.lower() in _NOBODY:
            raise InvalidFieldsError(
                [FieldError("name", "is what the audit log calls changes that no person asked for")]
            )
        if self._tokens.named(name) is not None:
            raise TokenStandsError(f"there is a token {name!r} already: revoke it, or choose another name")
        if len(self._tokens) >= MOST:
            raise TokenStandsError(f"there are {MOST} tokens, which is the most there may be")
        try:
            expires_at = None if expires is None else expiry_of(expires, now)
        except ValueError as error:
            raise InvalidFieldsError([FieldError("expires", str(error))]) from error
        secret = PREFIX + secrets.token_urlsafe(32)
        token = Token(name, digest_of(secret), role.name.lower(), iso(now), intent.who, expires_at)
        if intent.dry_run:
            return token, secret, False
        self._tokens.put(token)
        return token, secret, await self._keep(name, token, intent, None, _shown(token))

    async def revoke(self, name: str, intent: Intent) -> bool:
        """Whether that is on the disk. It is in force either way, for the next call."""
        if name == BOOTSTRAP:
            why = (
                f"the token {name!r} is the one in the file {TOKEN_FILE}: put another in it, or delete it, and restart"
            )
            raise TokenStandsError(why)
        token = self._tokens.named(name)
        if token is None:
            raise UnknownTokenError(name)
        if intent.dry_run:
            return False
        self._tokens.remove(name)
        return await self._keep(name, None, intent, _shown(token), None)

    async def _keep(
        self,
        name: str,
        token: Token | None,
        intent: Intent,
        before: Mapping[str, str | None] | None,
        after: Mapping[str, str | None] | None,
    ) -> bool:
        gateway = self._gateway
        entry = Auditor(gateway.node).entry(intent, gateway.revision, None, before, after, None)
        return await gateway.journal.keep(Change(gateway.revision, audit=[entry], tokens={name: token}))


def _shown(token: Token) -> Mapping[str, str | None]:
    """What the audit log has of it."""
    return {"token": token.name, "role": token.role, "expires_at": token.expires_at}
