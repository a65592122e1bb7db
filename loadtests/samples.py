"""One line for each request of a load test: written inside locust, read by the report. Imports nothing of locust."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """`started` is Unix time in seconds; `upstream` is empty where no answer named one. `drawn`: weights alone decided.
    `client` names a sticky client, else it is empty."""

    started: float
    milliseconds: float
    name: str
    upstream: str
    ok: bool
    drawn: bool
    client: str

    @property
    def ended(self) -> float:
        return self.started + self.milliseconds / 1000


class SampleFile:
    """A listener for locust's `request` event."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)

    def add(
        self,
        name: str,
        response_time: float,
        response: Any,
        exception: BaseException | None,
        context: dict[str, Any],
        start_time: float,
        **_: object,
    ) -> None:
        row = [
            start_time,
            round(response_time, 3),
            name,
            served_by(response),
            exception is None,
            bool(context.get("drawn")),
            context.get("client", ""),
        ]
        self._file.write(json.dumps(row) + "\n")

    def close(self, **_: object) -> None:
        self._file.close()


def served_by(response: Any) -> str:
    """Which upstream answered: X-Served-By of the sample services, X-Headgate-Upstream with `expose_upstream: true`."""
    headers = getattr(response, "headers", None)
    if not headers:
        return ""
    return str(headers.get("X-Served-By") or headers.get("X-Headgate-Upstream") or "")


def read_samples(path: Path) -> Iterator[Sample]:
    with path.open() as file:
        for line in file:
            yield Sample(*json.loads(line))
