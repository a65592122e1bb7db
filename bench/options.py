"""What the command line asks of the benches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`peers` is passed on to the side-by-side bench: a virtual environment with proxies that come from a registry."""

    peers: str | None = None
    rounds: int = 3
