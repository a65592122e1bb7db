"""Arithmetic of `headgate weights`: what the command line says, and what the route has, make the weights to set.

Weights are relative; people think in percent. So where the route's stable upstream is not named, the numbers are
percent: the named upstreams get theirs, the others keep the percent they have, and stable takes the rest.
"""

from __future__ import annotations

import math
from typing import Any

import typer

from admin.errors import CommandError

# The admin API takes so many decimals; 100/3 has more.
_DECIMALS = 6


def parse_weights(shares: list[str]) -> dict[str, float]:
    """`["canary=10", "blue=90"]` as a mapping. Raises typer.BadParameter."""
    weights: dict[str, float] = {}
    for share in shares:
        name, equals, number = share.rpartition("=")
        try:
            weight = float(number.removesuffix("%"))
        except ValueError:
            weight = math.nan
        if not equals or not name or not math.isfinite(weight) or weight < 0:
            raise typer.BadParameter(f"{share!r} is not UPSTREAM=NUMBER, as in canary=10", param_hint="UPSTREAM=WEIGHT")
        if name in weights:
            raise typer.BadParameter(f"{name} stands there twice", param_hint="UPSTREAM=WEIGHT")
        weights[name] = _plain(weight)
    return weights


def with_shares(wanted: dict[str, float], route: dict[str, Any]) -> dict[str, float]:
    """The weights to set, in percent, where `wanted` does not name the stable upstream of `route` (as the API shows it).
    Raises CommandError above 100.

    A weight of 0 closes an upstream to rules too. So a 0 that nobody set (declared in the file, or what is left for
    stable) is left out, and only one that was set by hand before is kept.
    """
    stable, current = route["stable"], route["weights"]
    total = sum(current.values())
    kept = {
        name: _plain(round(100 * weight / total, _DECIMALS))
        for name, weight in current.items()
        if name not in wanted and name != stable and (weight or route["live"])
    }
    rest = round(100 - sum(wanted.values()) - sum(kept.values()), _DECIMALS - 1)
    if rest < 0:
        parts = " + ".join(f"{name}={weight:g}" for name, weight in {**kept, **wanted}.items() if weight)
        raise CommandError(
            f"{parts} is more than 100 percent; name {stable}, the stable upstream, too and the weights are relative"
        )
    return {**({stable: _plain(rest)} if rest else {}), **kept, **wanted}


def _plain(number: float) -> float:
    """Whole numbers without a decimal point, so that they are stored and shown as they were typed."""
    return int(number) if number == int(number) else number
