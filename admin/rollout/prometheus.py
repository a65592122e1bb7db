"""PromQL as a gate: one instant query (Prometheus HTTP API, `GET /api/v1/query`)."""

from __future__ import annotations

from math import isfinite
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from admin.rollout.machine import Answer
from admin.rollout.reading import beginning, failure_of, origin_of
from routing.config_rollout import PrometheusCheck

_LONGEST_ANSWER = 1 << 20


async def query(session: ClientSession, gate: str, check: PrometheusCheck) -> Answer:
    """Whether the value is within `min` and `max`. What cannot be asked, or has no value, is no answer."""
    url = f"{check.url.rstrip('/')}/api/v1/query"
    try:
        timeout = ClientTimeout(total=check.timeout)
        asked = session.get(url, params={"query": check.query}, timeout=timeout, allow_redirects=False)
        async with asked as response:
            if response.status != 200:
                return Answer(gate, None, f"{check.name}: {origin_of(url)} answers {response.status}")
            body = await beginning(response.content, _LONGEST_ANSWER + 1)
        if len(body) > _LONGEST_ANSWER:
            return Answer(gate, None, f"{check.name}: the answer is too long")
        found = orjson.loads(body)
    except TimeoutError:
        return Answer(gate, None, f"{check.name}: no answer within {check.timeout:g} s")
    except (ClientError, OSError, ValueError) as error:
        return Answer(gate, None, f"{check.name}: {failure_of(error)}")
    return _judged(gate, check, found)


def _judged(gate: str, check: PrometheusCheck, found: Any) -> Answer:
    try:
        values = _values(found)
    except (KeyError, TypeError, ValueError, IndexError):
        return Answer(gate, None, f"{check.name}: this is no answer of a Prometheus")
    if not values:
        return Answer(gate, None, f"{check.name}: the query has no value")
    if len(values) > 1:
        return Answer(gate, None, f"{check.name}: the query has {len(values)} values; it must have one")
    value = values[0]
    if not isfinite(value):
        return Answer(gate, None, f"{check.name} is {value}")
    if check.min is not None and value < check.min:
        return Answer(gate, False, f"{check.name} is {value:g}, below {check.min:g}")
    if check.max is not None and value > check.max:
        return Answer(gate, False, f"{check.name} is {value:g}, above {check.max:g}")
    return Answer(gate, True, f"{check.name} is {value:g}")


def _values(found: Any) -> list[float]:
    """Of a vector or a scalar."""
    kind, result = found["data"]["resultType"], found["data"]["result"]
    if kind == "scalar":
        return [float(result[1])]
    if kind != "vector":
        raise ValueError(kind)
    return [float(each["value"][1]) for each in result]
