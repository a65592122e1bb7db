"""The shapes of what is asked and answered about deployments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admin.api.models import Answer, Query


class DeploymentsQuery(Query):
    route: str | None = Field(None, description="only this route's")
    since: str = Field(
        "30d",
        max_length=64,
        description="how far back, as 30d; or a date, from its beginning in UTC; or a time with its offset",
    )
    limit: int = Field(50, ge=1, le=1000, description="so many, the newest first; the figures are of all")


class DeploymentAnswer(Answer):
    kind: Literal["rollout", "manual"]
    route: str
    number: int | None = Field(description="of the route's rollouts")
    to: list[str]
    pattern: str | None
    started_at: str
    ended_at: str | None
    seconds: float | None
    outcome: Literal["promoted", "cut_back", "aborted"] | None = Field(
        description="null: under way, or the log has no end of it"
    )
    started_by: str | None
    reason: str = Field(description="why it ended so")


class FiguresAnswer(Answer):
    days: float
    promoted: int
    cut_back: int
    aborted: int
    manual: int = Field(description="weights by a person that gave one upstream everything")
    per_day: float = Field(description="promoted and manual")
    median_seconds: float | None = Field(description="of rollouts promoted")
    p90_seconds: float | None
    success_rate: float | None = Field(description="promoted, of those promoted or cut back")
    recovered: int = Field(description="cutbacks that were restored, or followed by a rollout that was promoted")
    not_recovered: int
    median_seconds_to_recover: float | None


class DeploymentsAnswer(Answer):
    since: str
    until: str
    truncated: bool = Field(
        description="there was more since then than is read at once; `since` is where reading began"
    )
    deployments: list[DeploymentAnswer]
    figures: FiguresAnswer
