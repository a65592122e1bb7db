"""What the command line asks of the benches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`peers` is passed on to the side-by-side bench: a virtual environment with proxies that come from a registry. `parts`,
    `pairs`, `seeds` and `seconds` are of the shadow bench."""

    peers: str | None = None
    rounds: int = 3
    parts: tuple[str, ...] = ()
    pairs: int = 20_000
    seeds: int = 3
    seconds: float = 60.0
