"""Gateways with shadows: one whose shadow process takes copies, what it says of them, and clients that compare every answer
with what the primary sent."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway import Document, Gateway
from tests.support.origin import Arrival, Conversation, Origin
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, Wire, request

SHADOW = "headgate: shadow"
BURST = 4
CHUNKED = b"POST %b HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


# Gateways


class Shadowed:
    """A gateway whose routes have shadows. A route's host is its name and `.example`; the route `warm` is there to tell when
    copies are taken, so that the others' counts can be exact."""

    def __init__(self, stage: Stage, upstreams: Mapping[str, Any], routes: Mapping[str, Any], **top: Any) -> None:
        """`upstreams` are URLs, or whole sections; `routes` is name -> shadow. A route's stable is the upstream of its name, or
        else the first."""
        self._warm = stage.origin("warm")
        self.settings = _document({**upstreams, "warm": self._warm.url}, routes, top)
        self.gateway = stage.gateway(self.settings)
        self.start()

    def start(self) -> None:
        self.gateway.start()
        self.wait_copying()

    def wait_copying(self) -> None:
        """Credits are given to a worker for all routes at once, so when one is copied all may be."""
        before = len(copies(self._warm))

        def copied() -> bool:
            self.gateway.get("/", Host="warm.example")
            return len(copies(self._warm)) > before

        self.gateway.until(copied, "the shadow process takes copies")

    @property
    def shadow_pid(self) -> int:
        self.gateway.until(lambda: SHADOW in self.gateway.by_title(), "there is a shadow process")
        return self.gateway.by_title()[SHADOW]

    def ask(self, target: str = "/", route: str = "shop", **fields: str) -> tuple[int, bytes]:
        status, _, body = self.gateway.get(target, Host=f"{route}.example", **fields)
        return status, body

    def diffs(self, route: str = "shop") -> Any:
        return self.gateway.call("GET", f"/v1/routes/{route}/diffs")

    def set(self, route: str = "shop", **shadow: Any) -> Any:
        """Change the route's shadow live."""
        answer = self.gateway.call("PUT", f"/v1/routes/{route}/shadow", shadow)
        assert answer["receipt"]["applied"], answer
        return answer

    def counted(self, requests: int, route: str = "shop") -> Any:
        """The diffs, once each of so many requests in the sample is counted: as compared or as dropped."""
        self.gateway.until(lambda: accounted(self.diffs(route)) >= requests, f"{requests} requests are counted")
        diffs = self.diffs(route)
        assert accounted(diffs) == requests, diffs
        assert diffs["compared"] == diffs["matched"] + diffs["mismatched"] + diffs["unknown"]
        return diffs

    def metrics(self, name: str, route: str = "shop") -> dict[str, float]:
        """The samples of a metric for that route, by its other label; by an empty one where it has no other."""
        with self.gateway.admin() as client:
            status, text = client.exchange("GET", "/metrics")
        assert status == 200
        found = {}
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels.get("route", route) == route:
                    found["".join(value for key, value in sample.labels.items() if key != "route")] = sample.value
        return found

    def copied(self, route: str = "shop") -> int:
        """How many of the requests so far were copied. What a worker counts it tells all at once, so one that is known of tells
        of those before it; for a single worker."""
        before = self.metrics("headgate_shadow_copied_total", "warm")[""]
        self.wait_copying()
        self.gateway.until(
            lambda: self.metrics("headgate_shadow_copied_total", "warm")[""] > before,
            "the worker tells what it has counted",
        )
        return int(self.metrics("headgate_shadow_copied_total", route)[""])


def _document(upstreams: Mapping[str, Any], shadows: Mapping[str, Any], top: Mapping[str, Any]) -> Document:
    stable = next(iter(upstreams))
    routes = {name: _route(name, name if name in upstreams else stable, shadow) for name, shadow in shadows.items()}
    routes["warm"] = _route("warm", "warm", {"upstream": "warm", "percent": 100, "noise_sample": "0%"})
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "workers": 1,
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": {name: {"endpoints": [own]} if isinstance(own, str) else own for name, own in upstreams.items()},
        "routes": routes,
        # Clients here pipeline over one connection for as long as a test takes.
        "limits": {"requests_per_connection": 0},
        **top,
    }


def _route(name: str, stable: str, shadow: Any) -> dict[str, Any]:
    return {"match": {"hosts": [f"{name}.example"]}, "stable": stable, "weights": {stable: 1}, "shadow": shadow}


def accounted(diffs: Any) -> int:
    return int(diffs["compared"] + sum(diffs["dropped"].values()))


# A primary, and clients that know what it sends


def numbered(target: str, sent: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to `/n/<number>`: of all framings and sizes, and telling of what was sent."""
    number = int(target.rpartition("/")[2])
    status = (200, 200, 201, 404, 500, 204)[number % 6]
    size = 100_000 if number % 31 == 0 else 10 * (number % 40)
    body = b"%d %b " % (number, hashlib.md5(sent).hexdigest().encode())
    return status, b"" if status == 204 else body + b"x" * size


def numbered_answer(arrival: Arrival) -> bytes:
    status, body = numbered(arrival.target, arrival.body)
    head = b"HTTP/1.1 %d Fine\r\nX-Number: %b\r\n" % (status, arrival.target.encode())
    if status == 204:
        return head + b"\r\n"
    if len(body) % 3 == 0:
        half = len(body) // 2
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + parts
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def numbers(connection: Conversation) -> None:
    """The script of a primary, or of a shadow that does as the primary does."""
    while True:
        connection.send(numbered_answer(connection.receive()))


class Clients:
    """Keep-alive clients that send numbered requests, half of them in bursts, one in five with a body, and compare what comes
    back. Each finishes what it has begun at the end, so `sent` is exact."""

    def __init__(self, gateway: Gateway, host: str, count: int = 4) -> None:
        self._gateway = gateway
        self._host = host
        self._numbers = itertools.count(1)
        self._stop = False
        self._changed = threading.Condition()
        self.sent = 0
        self.different: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(BURST if place % 2 else 1,), name="client", daemon=True)
            for place in range(count)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait(self, more: int) -> None:
        """So many more answers, or the first that is different."""
        with self._changed:
            target = self.sent + more
            assert self._changed.wait_for(lambda: self.sent >= target or self.different, PATIENCE), (
                "nothing is answered"
            )

    def _run(self, burst: int) -> None:
        with self._gateway.connect() as wire:
            while not (self._stop or self.different):
                self._ask(wire, [next(self._numbers) for _ in range(burst)])

    def _ask(self, wire: Wire, burst: list[int]) -> None:
        asked = [(f"/n/{number}", self._body(number)) for number in burst]
        try:
            wire.send(b"".join(self._request(target, body) for target, body in asked))
            for target, body in asked:
                answer = wire.response()
                got = answer.status, answer.body, answer.get("x-number")
                if got != (*numbered(target, body or b""), target):
                    self.different.append(f"{target}: {answer.head.start} {answer.body[:100]!r}")
        except (ClosedError, OSError) as error:
            self.different.append(f"{asked[0][0]}: {error!r}")
        with self._changed:
            self.sent += len(asked)
            self._changed.notify_all()

    def _request(self, target: str, body: bytes | None) -> bytes:
        if body is not None and len(body) % 2:
            return CHUNKED % (target.encode(), self._host.encode(), len(body), body)
        return request(target, method="GET" if body is None else "POST", fields={"Host": self._host}, body=body)

    @staticmethod
    def _body(number: int) -> bytes | None:
        return (b"%d " % number) * (number % 2000) if number % 5 == 0 else None


def copies(origin: Origin) -> list[Arrival]:
    """Arrivals that are marked as copies."""
    return [arrival for arrival in origin.arrivals if arrival.get("x-headgate-shadow")]
