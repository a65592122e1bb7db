"""Where an address is: inline ranges first, the longest prefix winning, then a MaxMind-format database."""

from __future__ import annotations

from dataclasses import dataclass

from routing.request import Place


@dataclass(frozen=True, slots=True)
class GeoSource:
    """What the configuration names: a database file, and ranges that win over it as (network, place)."""

    database: str | None = None
    ranges: tuple[tuple[str, Place], ...] = ()
