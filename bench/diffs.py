"""Pairs of answers compared, by one core: what a differ process does for each, without the way to it and back."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from statistics import median
from time import process_time
from typing import Any

import orjson

from bench.figures import Figure, Finding
from bench.options import Options
from routing.config import REDACTED_HEADERS, REDACTED_PATHS
from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.compare import Comparer
from shadow.differ import Differ
from shadow.jobs import Adopt, Job, plain
from shadow.verdict import Compared

ROUNDS = 5
SECONDS = 0.4
_RANDOM = random.Random(7)
_REDACTING = Redacting(REDACTED_HEADERS, REDACTED_PATHS)


def measure(options: Options) -> Iterator[Finding]:
    """Times are asked of 10 KB of JSON; the hopeless ones of a deadline."""
    document = _catalog(72)
    size = f"{len(orjson.dumps(document)) / 1024:.1f} KB of JSON"
    yield _rate(f"{size}, members in another order", 5_000, document, _reordered(document), set())
    yield _rate(f"{size}, one field changed", 1_000, document, _repriced(document), {"$.items[*].price"})
    yield _rate(f"{size}, a field of each element changed", None, document, _restocked(document), {"$.items[*].stock"})
    yield _rate(f"{size}, list shuffled", None, document, _shuffled(document), {"$.items"})
    unordered = Comparing(unordered=("$.items",), ignore=("$..at",))
    yield _rate(f"{size}, list shuffled, unordered", None, document, _shuffled(document), set(), unordered)
    yield from _hopeless()


def _rate(
    what: str, least: int | None, one: Any, other: Any, fields: set[str], comparing: Comparing | None = None
) -> Figure:
    """`least` pairs a second are asked. The median of some rounds."""
    comparer = Comparer(comparing or Comparing(), _REDACTING)
    primary, shadow = _answer(orjson.dumps(one)), _answer(orjson.dumps(other))
    found = comparer.compare(primary, shadow, None)
    assert {difference.field for difference in found.shadow} == fields, f"the comparison went wrong: {found}"
    rates = []
    for _ in range(ROUNDS):
        begun, pairs = process_time(), 0
        while (spent := process_time() - begun) < SECONDS:
            for _ in range(20):
                comparer.compare(primary, shadow, None)
            pairs += 20
        rates.append(pairs / spent)
    rate = median(rates)
    asked = "" if least is None else f" of {least:,} asked"
    return Figure(what, 1e6 / rate, "µs", None if least is None else 1e6 / least, f"{rate:,.0f} pairs/s{asked}")


def _hopeless() -> Iterator[Finding]:
    """What a comparison could hang on, through the differ with its deadline of 0.2 s of processor time."""
    differ = Differ()
    differ.adopt(Adopt("bench", Comparing(), _REDACTING))
    lines = [b"%x" % _RANDOM.getrandbits(40) for _ in range(17_000)]
    shuffled_lines = _RANDOM.sample(lines, len(lines))
    elements = [{**element, "at": _RANDOM.random()} for element in _catalog(5_000)["items"]]
    others = [{**element, "at": _RANDOM.random()} for element in _RANDOM.sample(elements, len(elements))]
    cases = {
        "200 KB of text, lines shuffled": (b"\n".join(lines), b"\n".join(shuffled_lines)),
        "1,000 levels of JSON": (b"[" * 1000 + b"]" * 1000, b"[" * 1000 + b"1" + b"]" * 1000),
        "5,000 elements shuffled, each changed": (orjson.dumps(elements), orjson.dumps(others)),
    }
    for what, bodies in cases.items():
        job = Job(0, "bench", (plain(_answer(bodies[0], b"")), plain(_answer(bodies[1], b""))))
        done = differ.done(job)
        yield Figure(what, done.cpu, "s", 0.25, _verdict(done.compared))


def _verdict(compared: Compared) -> str:
    if compared.reason:
        return f"no verdict: {compared.reason}"
    return "differs in " + ", ".join(sorted({difference.field for difference in compared.shadow}))


def _answer(body: bytes, media: bytes = b"application/json") -> Answer:
    lines = [b"Date: Fri, 20 Nov 2026 14:00:00 GMT", b"Server: shop", b"Content-Length: %d" % len(body)]
    return Answer(200, [b"Content-Type: " + media, *lines] if media else lines, body, 0.01)


def _catalog(count: int) -> dict[str, Any]:
    items = [
        {
            "id": 1000 + n,
            "sku": f"SKU-{n:06}",
            "name": f"Running shoe, model {n}",
            "price": round(20 + 100 * _RANDOM.random(), 2),
            "stock": _RANDOM.randrange(500),
            "tags": ["shoes", "sport"],
            "seller": {"id": n % 7, "rating": 4.5},
        }
        for n in range(count)
    ]
    return {"items": items, "page": 1, "total": count}


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reordered(value[name]) for name in reversed(value)}
    return [_reordered(element) for element in value] if isinstance(value, list) else value


def _repriced(document: Any) -> Any:
    changed = copy.deepcopy(document)
    changed["items"][37]["price"] += 1
    return changed


def _restocked(document: Any) -> Any:
    changed = copy.deepcopy(document)
    for element in changed["items"]:
        element["stock"] += 1
    return changed


def _shuffled(document: Any) -> Any:
    return {**document, "items": _RANDOM.sample(document["items"], len(document["items"]))}
