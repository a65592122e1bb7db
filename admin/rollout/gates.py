"""The questions that a rollout puts to others, by name. A name is what the state, the API and people call it by."""

from __future__ import annotations

from admin.rollout.state import Gate
from routing.config_rollout import Analysis, PrometheusCheck, Webhook

SMOKE = "smoke"
UPDATE = "update"


def prometheus_of(analysis: Analysis) -> dict[str, PrometheusCheck]:
    return {f"prometheus {check.name}": check for check in analysis.prometheus}


def webhooks_of(analysis: Analysis) -> dict[str, Webhook]:
    return {f"webhook {hook.name or number}": hook for number, hook in enumerate(analysis.webhooks, 1)}


def asked(gate: Gate, now: float) -> bool:
    """Whether it is to be asked now."""
    return not gate.asked and gate.due <= now
