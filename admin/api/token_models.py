"""The shapes of requests and answers that are about tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admin.api.models import REASON, Answer, Body

RoleName = Literal["viewer", "operator", "admin"]


class TokenBody(Body):
    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$", description="what the audit log will say")
    role: RoleName
    expires: str | None = Field(
        None,
        max_length=64,
        description="how long it holds, as 90d; or a date, to its end in UTC; or a time with its offset. null: no end",
    )
    reason: str = REASON


class TokenAnswer(Answer):
    """A token as others may see it."""

    name: str
    role: RoleName
    created_at: str
    created_by: str
    expires_at: str | None = Field(description="null: no end")
    expired: bool
    last_used: str | None = Field(description="the day, in UTC; null: never")


class TokensAnswer(Answer):
    tokens: list[TokenAnswer]


class TokenCreatedAnswer(TokenAnswer):
    token: str | None = Field(description="the token itself: here, and never again. null for a dry run")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str]


class TokenRevokedAnswer(Answer):
    name: str
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str]
