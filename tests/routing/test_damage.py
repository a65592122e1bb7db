"""Documents damaged at random: each is accepted and compiles, or is refused with problems; nothing else comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.compile import compile_snapshot
from routing.config import Config
from routing.document import ConfigError, Problem, path_text, read
from routing.load import load_text, load_tree
from tests.routing.samples import SAMPLE, SECRET

TREE: Any = read(SAMPLE, {}).tree

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["blue", "canary", "5%", "1s", "/", "*", "*.a", "${A}", "${A:-1}", "http://a", ":80", "^(a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, member in members for place in places(member, (*at, key)))]


PLACES = places(TREE)[1:]


def accepted_or_refused(load: Callable[[], Config]) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        config = load()
    except ConfigError as error:
        problems = error.problems or (Problem("", None, ""),)
    else:
        compile_snapshot(config, revision=1, secret=SECRET)
    assert all(problem.message and "\n" not in str(problem) for problem in problems)


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(["drop", "put", "add"]), junk), min_size=1, max_size=4)
)
def test_tree_damaged_anywhere_is_accepted_or_refused(damage: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    tree = copy.deepcopy(TREE)
    for place, kind, value in damage:
        parent = tree
        try:
            for key in place[:-1]:
                parent = parent[key]
            if kind == "drop":
                del parent[place[-1]]
            elif kind == "put" or not isinstance(parent[place[-1]], dict):
                parent[place[-1]] = value
            else:
                parent[place[-1]][str(value)[:6]] = value
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # an earlier damage took the place away
    accepted_or_refused(lambda: load_tree(tree, {"A": "x"}))


@settings(max_examples=150)
@given(st.integers(0, len(SAMPLE)), st.integers(0, 20), st.text(max_size=6))
def test_text_damaged_anywhere_is_accepted_or_refused(at: int, cut: int, put: str) -> None:
    text = SAMPLE[:at] + put + SAMPLE[at + cut :]
    accepted_or_refused(lambda: load_text(text, {}, "gateway.yaml"))


@pytest.mark.parametrize("key", ["<form>", "[key]", "\0form", "", "\n", "${A}"])
@pytest.mark.parametrize(
    "place", [(), ("routes",), ("routes", "shop"), ("routes", "shop", "rules", 0, "when", "header")]
)
def test_key_that_looks_like_none_is_refused_in_its_place(place: tuple[Any, ...], key: str) -> None:
    tree = parent = copy.deepcopy(TREE)
    for part in place:
        parent = parent[part]
    parent[key] = 5
    accepted_or_refused(lambda: load_tree(tree))
    with pytest.raises(ConfigError) as caught:
        load_tree(tree)
    assert caught.value.problems[0].path.startswith(path_text(place))
