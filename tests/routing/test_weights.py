"""Weights hold exactly: for requests drawn one by one, and for clients that stay where they are."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.weights import Draws, LineDraw, QuotaDraw, Split, salt, whole_shares

weight_lists = st.lists(st.integers(1, 1000), min_size=2, max_size=6)


def split_of(*weights: int) -> Split:
    return Split(tuple(range(len(weights))), weights, tuple(salt("shop", f"upstream{i}") for i in range(len(weights))))


@given(weight_lists, st.integers(0, 2**32), st.integers(1, 3000))
def test_draws_after_any_number_are_within_one_of_each_share(weights: list[int], seed: int, length: int) -> None:
    split, draws = split_of(*weights), Draws(random.Random(seed))
    total, drawn = sum(weights), [0] * len(weights)
    for number in range(1, length + 1):
        drawn[draws.next(split)] += 1
        for count, weight in zip(drawn, weights, strict=True):
            assert abs(count * total - number * weight) < total


@given(st.lists(st.integers(1, 12), min_size=3, max_size=5), st.integers(0, 2**32))
def test_quota_draw_over_several_periods_is_exact_at_each_end(weights: list[int], seed: int) -> None:
    draw = QuotaDraw(split_of(*weights), random.Random(seed))
    for _ in range(3):
        drawn = Counter(draw.next() for _ in range(sum(weights)))
        assert [drawn[i] for i in range(len(weights))] == weights


def test_line_draw_many_fresh_workers_do_not_all_begin_alike() -> None:
    rng = random.Random(7)
    firsts = Counter(LineDraw(split_of(1, 1), rng).next() for _ in range(1000))
    assert min(firsts.values()) > 400


def test_draws_two_splits_keep_their_own_turns() -> None:
    one, two, draws = split_of(1, 1), split_of(1, 1), Draws(random.Random(1))
    interleaved = [(draws.next(one), draws.next(two)) for _ in range(10)]
    assert sum(first for first, _ in interleaved) == 5
    assert sum(second for _, second in interleaved) == 5


def test_draws_keep_forgets_only_splits_that_are_gone() -> None:
    kept, gone, draws = split_of(1, 2), split_of(2, 1), Draws(random.Random(1))
    before = [draws.next(kept) for _ in range(2)]
    draws.next(gone)
    draws.keep({kept})
    assert Counter([*before, draws.next(kept)]) == {0: 1, 1: 2}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 95.0, "b": 5.0}, {"a": 19, "b": 1}),
        ({"a": 99.9, "b": 0.1}, {"a": 999, "b": 1}),
        ({"a": 1.0, "b": 0.0}, {"a": 1, "b": 0}),
        ({"a": 0.000001, "b": 1.0}, {"a": 1, "b": 1_000_000}),
        ({"a": 33.3, "b": 33.3, "c": 33.4}, {"a": 333, "b": 333, "c": 334}),
        ({"a": 100.0}, {"a": 1}),
    ],
)
def test_whole_shares_are_the_smallest_in_the_same_ratio(weights: dict[str, float], expected: dict[str, int]) -> None:
    assert whole_shares(weights) == expected


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**9), min_size=1))
def test_whole_shares_of_decimals_are_exact(millionths: dict[str, int]) -> None:
    shares = whole_shares({name: count / 1e6 for name, count in millionths.items()})
    total, whole = sum(millionths.values()), sum(shares.values())
    for name, count in millionths.items():
        assert Fraction(shares[name], whole) == Fraction(count, total)


@pytest.mark.parametrize("percent", [1, 5, 10, 50])
def test_place_of_100_000_clients_is_within_half_a_percent(percent: int) -> None:
    rng, split = random.Random(2024), split_of(100 - percent, percent)
    moved = sum(split.place(rng.getrandbits(64)) for _ in range(100_000))
    assert abs(moved / 1000 - percent) < 0.5


def test_place_among_four_upstreams_is_within_half_a_percent() -> None:
    rng, split = random.Random(7), split_of(70, 15, 10, 5)
    placed = Counter(split.place(rng.getrandbits(64)) for _ in range(100_000))
    for index, percent in enumerate((70, 15, 10, 5)):
        assert abs(placed[index] / 1000 - percent) < 0.5


@settings(max_examples=40)
@given(weight_lists, st.data())
def test_place_when_one_weight_rises_moves_clients_only_to_it(weights: list[int], data: st.DataObject) -> None:
    raised = data.draw(st.integers(0, len(weights) - 1))
    more = data.draw(st.integers(1, 1000))
    heavier = [weight + more if i == raised else weight for i, weight in enumerate(weights)]
    before, after = split_of(*weights), split_of(*heavier)
    buckets = random.Random(1)
    for _ in range(500):
        bucket = buckets.getrandbits(64)
        where = after.place(bucket)
        assert where in (before.place(bucket), raised)


def test_place_from_95_to_90_moves_clients_only_from_blue_to_canary() -> None:
    before, after, buckets = split_of(19, 1), split_of(9, 1), random.Random(5)
    moves = Counter((before.place(b), after.place(b)) for b in (buckets.getrandbits(64) for _ in range(20_000)))
    assert (1, 0) not in moves
    assert 4 < moves[0, 1] / 200 < 6


def test_place_on_two_routes_favours_different_clients() -> None:
    here = Split((0, 1), (9, 1), (salt("shop", "blue"), salt("shop", "canary")))
    there = Split((0, 1), (9, 1), (salt("search", "blue"), salt("search", "canary")))
    rng = random.Random(3)
    both = sum(here.place(b) and there.place(b) for b in (rng.getrandbits(64) for _ in range(20_000)))
    assert 100 < both < 300  # a hundredth of 20,000 where the choices are independent


@pytest.mark.parametrize("bucket", [0, 2**64 - 1])
def test_place_at_the_ends_of_the_range_has_an_upstream(bucket: int) -> None:
    assert split_of(1, 1, 1).place(bucket) in (0, 1, 2)
