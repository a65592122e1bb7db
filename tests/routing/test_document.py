"""Text to tree: YAML 1.2 and JSON, lines, duplicates, variables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.document import ConfigError, Problem, of_tree, path_text, read

ENVIRON = {"PORT": "8080", "COUNTRY": "NO", "EMPTY": "", "ZERO": "007", "TRUE": "true", "BRACE": "${PORT}"}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("country: NO", {"country": "NO"}),
        ("a: yes", {"a": "yes"}),
        ("a: on", {"a": "on"}),
        ("a: true", {"a": True}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 10:30", {"a": "10:30"}),
        ("a: 2027-01-31", {"a": "2027-01-31"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 0o17", {"a": 15}),
        ("a: 0x1F", {"a": 31}),
        ("a: 1e-9", {"a": 1e-9}),
        ("a: .inf", {"a": float("inf")}),
        ("a: '5'", {"a": "5"}),
        ("a: !!str 5", {"a": "5"}),
        ("a: |\n  5\n", {"a": "5\n"}),
        ("a: [1, b, {c: d}]", {"a": [1, "b", {"c": "d"}]}),
        ("1: a", {"1": "a"}),
        ("b: &x {k: 1}\na: *x", {"b": {"k": 1}, "a": {"k": 1}}),
        ("b: &x {k: 1, l: 2}\na: {<<: *x, k: 3}", {"b": {"k": 1, "l": 2}, "a": {"k": 3, "l": 2}}),
        ("", None),
        ('{"a": {"b": [1, 2.5, null, true]}}', {"a": {"b": [1, 2.5, None, True]}}),
    ],
)
def test_read_types_scalars_by_the_core_schema(text: str, tree: object) -> None:
    document = read(text, {})
    assert document.tree == tree
    assert document.findings == []


@pytest.mark.parametrize("text", ["a: 007", "a: 1.10", "a: 1e-9", '{"a": 1.10}'])
def test_read_numbers_remember_how_they_were_written(text: str) -> None:
    tree: Any = read(text, {}).tree
    assert tree["a"].text in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${PORT}", 8080),
        ('"${PORT}"', 8080),
        ("'0.0.0.0:${PORT}'", "0.0.0.0:8080"),
        ("${COUNTRY}", "NO"),
        ("${TRUE}", True),
        ("${MISSING:-5}", 5),
        ("${MISSING:-a b}", "a b"),
        ("${MISSING:-}", None),
        ("x${MISSING:-}", "x"),
        ("${EMPTY:-full}", "full"),
        ("x${EMPTY}", "x"),
        ("${EMPTY}", None),
        ("${PORT}${PORT}", "80808080"),
        ("$${PORT}", "${PORT}"),
        ("$$${PORT}", "$${PORT}"),
        ("$PORT", "$PORT"),
        ("^a$", "^a$"),
        ("${BRACE}", "${PORT}"),  # what a variable holds is not looked at again
    ],
)
@pytest.mark.parametrize("form", ["yaml", "json", "tree"])
def test_read_fills_variables_in(value: str, expected: object, form: str) -> None:
    if form == "yaml":
        document = read(f"a: {value}", ENVIRON)
    else:
        plain = {"a": value.strip("'\"")}
        document = read(json.dumps(plain), ENVIRON) if form == "json" else of_tree(plain, ENVIRON)
    assert document.findings == []
    assert document.tree == {"a": expected}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("${MISSING}", "the environment variable MISSING is not set"),
        ("x ${MISSING} ${PORT}", "the environment variable MISSING is not set"),
        ("${1}", "begins no variable"),
        ("'${PORT'", "begins no variable"),
        ("${}", "begins no variable"),
    ],
)
def test_read_variable_that_cannot_be_filled_is_a_finding(value: str, said: str) -> None:
    document = read(f"b: 1\na:\n  - {value}", ENVIRON)
    ((loc, message),) = document.findings
    assert loc == ("a", 0)
    assert said in message
    assert document.line(loc) == 3


@pytest.mark.parametrize(
    ("text", "loc", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", ("a",), 3, "twice (first in line 1)"),
        ("x:\n  a: 1\n  a: 1", ("x", "a"), 3, "twice (first in line 2)"),
        ('{"a": 1,\n "a": 2}', ("a",), 2, "twice (first in line 1)"),
        ("a: !custom x", ("a",), 1, "the tag !custom"),
        ("a: !!binary aGk=", ("a",), 1, "the tag"),
        ("a: !thing {b: c}", ("a",), 1, "the tag !thing"),
        ("a: &x [*x]", ("a", 0), 1, "contains itself"),
        ("[1, 2]: 3", (), None, "no plain text (line 1)"),
        ("a: {<<: 5}", ("a", "<<"), 1, "only mappings"),
        (r'a: ["\ud800"]', ("a", 0), 1, "surrogate"),
        (r'a: {"\udfff": 1}', ("a",), 1, "surrogate"),
        (r'{"a": ["\ud800"]}', ("a", 0), 1, "surrogate"),
        (r'{"a": {"\udfff": 1}}', ("a",), 1, "surrogate"),
    ],
)
def test_read_what_yaml_allows_and_we_do_not_is_a_finding(
    text: str, loc: tuple[str | int, ...], line: int | None, said: str
) -> None:
    document = read(text, {})
    ((found, message),) = document.findings
    assert found == loc
    assert said in message
    assert document.line(found) == line


def test_read_a_variable_of_an_environment_that_is_no_text_is_a_finding() -> None:
    document = read("a: ${A}\nb: x${A}", {"A": "\udcff"})
    assert [loc for loc, _ in document.findings] == [("a",), ("b",)]


def test_read_a_pair_of_surrogates_is_a_character() -> None:
    assert read(r'{"a": "\ud83d\ude00", "": 1}', {}).tree == {"a": "😀", "": 1}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\nb: 2\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: *nothing", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: b: c", 1),
        ('{"a": 1,\n"b" 2}', 2),
        ("a: '", 1),
        ("\0", None),
        ("[" * 5000, None),
    ],
)
def test_read_what_is_no_yaml_is_one_problem_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, {}, "gateway.yaml")
    (problem,) = caught.value.problems
    assert problem.path == ""
    assert problem.line == line
    assert problem.message.startswith("not valid YAML: ")
    assert "\n" not in str(problem)
    assert caught.value.source == "gateway.yaml"


def test_read_aliases_that_multiply_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    document = read("\n".join(lines), {})
    assert "too large" in document.findings[0][1]


def test_line_of_a_place_is_that_of_its_key_or_of_what_is_around_it() -> None:
    text = "a:\n  b:\n    - x\n    - c: 1\n      d: 2\n"
    document = read(text, {})
    assert [document.line(loc) for loc in (("a",), ("a", "b"), ("a", "b", 1), ("a", "b", 1, "d"))] == [1, 2, 4, 5]
    assert document.line(("a", "b", 1, "missing", 7)) == 4
    assert document.line(()) is None


def test_line_in_json_is_found_as_in_yaml() -> None:
    document = read('{"a":\n {"b": [1,\n  {"c": 5}]}}', {})
    assert document.line(("a", "b", 1, "c")) == 3


@pytest.mark.parametrize(
    ("loc", "text"),
    [
        (("routes", "shop", "rules", 1, "send"), "routes.shop.rules[1].send"),
        (("geo", "ranges", "10.0.0.0/8", "country"), 'geo.ranges["10.0.0.0/8"].country'),
        (("a-b_c", 0, 1), "a-b_c[0][1]"),
        (("my route",), '["my route"]'),
        ((), ""),
    ],
)
def test_path_text_uses_the_documents_own_keys(loc: tuple[str | int, ...], text: str) -> None:
    assert path_text(loc) == text


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("routes.shop.weights.canray", 41, "unknown upstream 'canray', did you mean 'canary'?"),
            "routes.shop.weights.canray (line 41): unknown upstream 'canray', did you mean 'canary'?",
        ),
        (Problem("a", None, "bad"), "a: bad"),
        (Problem("", 3, "bad"), "line 3: bad"),
        (Problem("", None, "bad"), "bad"),
    ],
)
def test_problem_is_one_line(problem: Problem, text: str) -> None:
    assert str(problem) == text
