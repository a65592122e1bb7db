"""Fields that are ignored, by rules as people write them."""

from __future__ import annotations

import pytest

from shadow.ignoring import Ignoring


@pytest.mark.parametrize(
    ("rule", "field", "ignored"),
    [
        ("$.a", "$.a", True),
        ("$.a", "$.b", False),
        ("$.a", "$.a.b", True),
        ("$.a.b", "$.a", False),
        ("$", "$.a", True),
        ("$", "$", True),
        ("$.a", "$", False),
        ("$..price", "$.items[*].price", True),
        ("$..price", "$.price", True),
        ("$..price", "$.price.net", True),
        ("$..price", "$.prices", False),
        ("$..items[*].price", "$.a.items[*].price", True),
        ("$..*", "$.a", True),
        ("$.items[*]", "$.items[*].price", True),
        ("$.items[*]", "$.items", False),
        ("$.items[3].price", "$.items[*].price", True),
        ("$.items[3].price", "$.items[*].name", False),
        ("$.items.*.price", "$.items[*].price", True),
        ("$.*", "$.a.b", True),
        ("$['a b']", "$['a b'].c", True),
        ("$.users.bob", "$.users.*", False),
        ("header:date", "header:date", True),
        ("header:date", "header:etag", False),
        ("status", "status", True),
        ("status", "$.status", False),
        ("body", "body", True),
        ("body", "$.a", True),
        ("body", "status", False),
        ("$.a", "status", False),
        ("$..*", "…other", False),
        ("$.a", "$.[", False),
    ],
)
def test_rule_ignores_field(rule: str, field: str, ignored: bool) -> None:
    assert (field in Ignoring([rule])) is ignored


def test_any_of_the_rules_will_do() -> None:
    ignoring = Ignoring(["status", "$.a", "$..b"])
    assert all(field in ignoring for field in ("status", "$.a", "$.c.b"))
    assert "$.c" not in ignoring


def test_many_deep_steps_cost_steps_times_steps() -> None:
    rule = "$" + "..a" * 40 + "..b"
    assert "$" + ".a" * 400 not in Ignoring([rule])
