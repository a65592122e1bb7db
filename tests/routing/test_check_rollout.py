"""Plans that contradict themselves, each told by its place."""

from __future__ import annotations

import pytest

from routing.document import ConfigError
from routing.load import load_text

DOCUMENT = """
listen: [{{address: "127.0.0.1:0"}}]
upstreams:
  blue: {{endpoints: [http://127.0.0.1:1]}}
  green: {{endpoints: [http://127.0.0.1:2]}}
  next: {{endpoints: [http://127.0.0.1:3]}}
freezes: [{freeze}]
routes:
  shop:
    stable: blue
    {sticky}
    rollout: {rollout}
"""
STEPS = "steps: [{weight: 5, hold: 5m}, {weight: 100}]"


def problems(rollout: str, sticky: str = "", freeze: str = "") -> list[str]:
    try:
        load_text(DOCUMENT.format(rollout=rollout, sticky=sticky, freeze=freeze), {})
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "rollout",
    [
        f"{{to: green, {STEPS}}}",
        "{to: [green, next], steps: [{weight: 5}, {weight: 50}]}",
        "{to: green, pattern: blue_green, watch: 10m, approval: true, max_error_rate: 1%}",
        "{to: blue, pattern: rolling, batch: 2, update: {url: https://deploy.example.com}}",
        "{to: green, pattern: recreate}",
        f"{{to: green, {STEPS}, windows: [{{days: [Monday, tue], from: '22:00', to: '02:00', zone: Europe/Berlin}}]}}",
        f"{{to: green, {STEPS}, shadow: {{percent: 10}}, analysis: {{rule_out: 3, webhooks: [{{url: http://127.0.0.1/x}}]}}}}",
    ],
)
def test_a_plan_that_fits_is_taken(rollout: str) -> None:
    assert problems(rollout) == []


@pytest.mark.parametrize(
    ("rollout", "place", "said"),
    [
        ("{to: green}", "steps", "has no step"),
        ("{to: blue, steps: [{weight: 5}]}", "to", "'blue' is the stable upstream already"),
        ("{to: gren, steps: [{weight: 5}]}", "to", "unknown upstream 'gren', did you mean 'green'?"),
        ("{to: [], steps: [{weight: 5}]}", "to", "names no upstream"),
        ("{to: [green, green], steps: [{weight: 5}]}", "to", "names an upstream twice"),
        (
            "{to: green, steps: [{weight: 25}, {weight: 5}]}",
            "steps[1].weight",
            "falls from 25 to 5: a rollout's weights only rise",
        ),
        (
            "{to: [green, next], steps: [{weight: 60}]}",
            "steps[0].weight",
            "60 for each of 2 upstreams is more than 100",
        ),
        ("{to: [green, next], pattern: blue_green}", "to", "the pattern blue_green is about one upstream"),
        (
            f"{{to: green, {STEPS}, watch: 5m}}",
            "watch",
            "is of the pattern blue_green or rolling or recreate; this one is canary",
        ),
        (
            f"{{to: green, pattern: ab, {STEPS}}}",
            "pattern",
            "ab needs a sticky route: a client that sees both versions belongs to neither cohort",
        ),
        (
            f"{{to: green, {STEPS}, windows: [{{zone: Europe/Berln}}]}}",
            "windows[0].zone",
            "unknown time zone 'Europe/Berln'; they are called like Europe/Berlin",
        ),
        (
            f"{{to: green, {STEPS}, windows: [{{from: '09:00', to: '09:00'}}]}}",
            "windows[0]",
            "begins and ends at the same time",
        ),
        (
            f"{{to: green, {STEPS}, analysis: {{prometheus: [{{name: a, url: http://x, query: q}}]}}}}",
            "analysis.prometheus[0]",
            "needs min or max",
        ),
        (
            f"{{to: green, {STEPS}, analysis: {{webhooks: [{{url: 'ftp://x'}}]}}}}",
            "analysis.webhooks[0].url",
            "'ftp://x' is not a URL like https://hooks.example.com/check",
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_at_its_place(rollout: str, place: str, said: str) -> None:
    assert problems(rollout) == [f"routes.shop.rollout.{place}: {said}"]


def test_a_freeze_that_ends_before_it_begins_is_refused() -> None:
    found = problems(f"{{to: green, {STEPS}}}", freeze="{from: 2026-12-20, until: 2026-12-01}")
    assert found == ["freezes[0].until: is before 2026-12-20"]
