"""Which of an upstream's endpoints gets the next request. Pure: loads and shares are the pools', randomness is an argument."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.pool import Pool


def choose(pools: tuple[Pool, ...], tried: tuple[Pool, ...], draw: Random) -> Pool | None:
    """The endpoint with fewer requests of two drawn at random (Mitzenmacher, "The power of two choices", 2001); one not yet
    `tried` where there is any, None of none."""
    if tried:
        pools = _untried(pools, tried)
    if not pools:
        return None
    if len(pools) <= 2:
        first, second = pools[0], pools[-1]
        if first.load == second.load:
            return first if draw.getrandbits(1) else second
    else:
        count = len(pools)
        at = int(draw.random() * count)
        first, second = pools[at], pools[(at + 1 + int(draw.random() * (count - 1))) % count]
    return first if first.load <= second.load else second


def choose_warming(pools: tuple[Pool, ...], tried: tuple[Pool, ...], draw: Random) -> Pool | None:
    """The same, where some warm up: each of those gets its `share` of an equal one, and less while it has more requests under
    way than another. Which has fewer would not do for them: one that is new has none, and would be chosen first."""
    if tried:
        pools = _untried(pools, tried)
    warm = tuple(pool for pool in pools if pool.share >= 1.0)
    other = choose(warm, (), draw)
    if other is None:
        return choose(pools, (), draw)
    at = draw.random() * len(pools)
    for pool in pools:
        if pool.share < 1.0:
            at -= pool.share
            if at < 0:
                return pool if pool.load <= other.load else other
    return other


def _untried(pools: tuple[Pool, ...], tried: tuple[Pool, ...]) -> tuple[Pool, ...]:
    return tuple(pool for pool in pools if pool not in tried) or pools
