"""What was deployed, and how well that goes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from admin.api.call import Call, Reply
from admin.api.deployment_models import DeploymentAnswer, DeploymentsAnswer, DeploymentsQuery, FiguresAnswer
from admin.clock import iso
from admin.deployments import ACTIONS, Tally, since_of
from admin.live import FieldError
from admin.refusals import InvalidFieldsError
from admin.state.store import Store

# Entries of the log that one call reads, the newest: with ten to a rollout, two thousand rollouts.
MOST_READ = 20_000
_BATCH = 200


async def get_deployments(call: Call) -> Reply:
    query, now = call.parameters(DeploymentsQuery), datetime.now(UTC)
    try:
        since = since_of(query.since, now)
    except ValueError as error:
        raise InvalidFieldsError([FieldError("since", str(error))]) from error
    tally, began = await _read(call.context.store, query.route, iso(since))
    if began is not None:
        since = datetime.fromisoformat(began)
    report = tally.report(since, now)
    answer = DeploymentsAnswer(
        since=iso(since),
        until=iso(now),
        truncated=began is not None,
        deployments=[DeploymentAnswer.model_validate(asdict(each)) for each in report.deployments[: query.limit]],
        figures=FiguresAnswer(**asdict(report.figures)),
    )
    return Reply(answer)


async def _read(store: Store, route: str | None, since: str) -> tuple[Tally, str | None]:
    """And when the first entry was, where there were more than are read."""
    after, more = await store.entries_begin(since, most=MOST_READ, route=route, actions=ACTIONS)
    tally, began = Tally(), None
    while entries := await store.entries_after(after, limit=_BATCH, route=route, actions=ACTIONS):
        if more and began is None:
            began = entries[0].at
        for entry in entries:
            tally.take(entry)
        after = entries[-1].id
    return tally, began
