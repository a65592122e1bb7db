"""Receivers of notifications that can't be used, each told by its place and without its secrets."""

from __future__ import annotations

import json

import pytest

from routing.config_notifications import MUST_HEAR, Notification
from routing.document import ConfigError
from routing.load import load_text

DOCUMENT = """
listen: [{{address: "127.0.0.1:0"}}]
upstreams: {{blue: {{endpoints: [http://127.0.0.1:1]}}}}
routes: {{shop: {{stable: blue}}, api: {{match: {{path_prefix: /api}}, stable: blue}}}}
notifications:
  - {target}
"""
ENVIRON = {
    "HOOK": "https://hooks.example.com/T0/very-secret",
    "KEY": "0123456789",
    "NONE": "",
    "BAD": "ftp://very-secret",
}


def targets(target: str) -> tuple[Notification, ...]:
    return load_text(DOCUMENT.format(target=target), ENVIRON).notifications


def problems(target: str) -> list[str]:
    try:
        targets(target)
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


def test_a_receiver_hears_by_default_of_what_people_must_hear_of_all_routes() -> None:
    (target,) = targets("{url: '${HOOK}', secret: '${KEY}'}")
    assert (target.kind, target.events, target.routes, target.timeout) == ("generic", MUST_HEAR, None, 10.0)
    assert (target.url, target.secret) == (ENVIRON["HOOK"], "0123456789")
    assert "very-secret" not in repr(target)
    assert "0123456789" not in repr(target)


def test_one_event_or_route_may_stand_alone() -> None:
    (target,) = targets("{url: '${HOOK}', kind: slack, events: cutback, routes: shop, template: 'a {{b}} {who}'}")
    assert (target.events, target.routes) == (("cutback",), ("shop",))


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("{kind: slack}", "[0].url: is required"),
        ("{url: hooks.example.com}", "[0].url: is not a URL like https://hooks.example.com/headgate"),
        ("{url: '${BAD}'}", "[0].url: is not a URL like https://hooks.example.com/headgate"),
        ("{url: '${HOOK}', kind: slak}", "[0].kind: must be 'generic', 'slack' or 'teams', did you mean 'slack'?"),
        (
            "{url: '${HOOK}', events: [cutback, rollout.promted]}",
            "[0].events[1]: unknown event 'rollout.promted', did you mean 'rollout.promoted'?",
        ),
        ("{url: '${HOOK}', events: []}", "[0].events: names no event"),
        ("{url: '${HOOK}', routes: [shpo]}", "[0].routes[0]: unknown route 'shpo', did you mean 'shop'?"),
        ("{url: '${HOOK}', routes: []}", "[0].routes: names no route: leave it out for all"),
        ("{url: '${HOOK}', timeout: 0s}", "[0].timeout: must be longer than 0"),
        (
            "{url: '${HOOK}', template: '{sentense}'}",
            "[0].template: unknown placeholder {sentense}, did you mean 'sentence'?",
        ),
        ("{url: '${HOOK}', template: '{who!r}'}", "[0].template: {who} takes no format"),
        ("{url: '${HOOK}', template: '{at:>9}'}", "[0].template: {at} takes no format"),
        (
            "{url: '${HOOK}', template: '{'}",
            "[0].template: Single '{' encountered in format string: a literal brace is written twice, {{ or }}",
        ),
        (
            "{url: '${HOOK}', secret: abc}",
            "[0].secret: stands in the document, which viewers may read: write ${NAME} and set that variable",
        ),
        (
            "{url: '${HOOK}', secret: '${UNSET:-abc}'}",
            "[0].secret: stands in the document, which viewers may read: write ${NAME} and set that variable",
        ),
        ("{url: '${HOOK}', secret: '${NONE}'}", "[0].secret: is empty, so nothing would be signed"),
        (
            "{url: '${HOOK}', secret: '${UNSET}'}",
            "[0].secret: the environment variable UNSET is not set, and no default is given (${UNSET:-default})",
        ),
        ("{url: '${HOOK}', colour: 3}", "[0].colour: unknown key"),
    ],
)
def test_a_receiver_that_cannot_be_used_is_told_by_its_place(target: str, problem: str) -> None:
    assert problems(target) == [f"notifications{problem}"]
    assert "very-secret" not in problem


def test_attribute_access_in_a_template_is_no_placeholder() -> None:
    (problem,) = problems("{url: '${HOOK}', template: '{who.__class__}'}")
    assert problem.startswith("notifications[0].template: unknown placeholder {who.__class__}; there are event, ")


def test_there_are_at_most_32() -> None:
    more = "\n  - ".join(["{url: 'https://hooks.example.com'}"] * 33)
    assert problems(more) == ["notifications: are 33, of at most 32"]


def test_a_secret_in_a_json_document_or_a_merged_mapping_counts_as_filled() -> None:
    shared = "&hook {url: '${HOOK}', secret: '${KEY}'}\n  - {<<: *hook, kind: slack}"
    assert [target.secret for target in targets(shared)] == ["0123456789"] * 2
    document = {
        "listen": [{"address": "127.0.0.1:0"}],
        "upstreams": {"blue": {"endpoints": ["http://127.0.0.1:1"]}},
        "routes": {"shop": {"stable": "blue"}},
        "notifications": [{"url": "${HOOK}", "secret": "${KEY}"}],
    }
    (target,) = load_text(json.dumps(document), ENVIRON).notifications
    assert target.secret == "0123456789"
