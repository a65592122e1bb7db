"""Users who behave as people and programs do before a shop. Each class can be run alone by its name."""

from __future__ import annotations

import random
from typing import Any

from locust import between, tag, task
from locust.contrib.fasthttp import FastHttpUser

from loadtests.samples import served_by

# Where clients claim to come from; believed only by a gateway that trusts the load test's own address. They stand for
# Berlin, New York and Austria in the demo's `geo.ranges`; only New York has no rule there.
NEW_YORK = "198.51.100."
REGIONS = ("192.0.2.", NEW_YORK, "203.0.113.")


class Visitor(FastHttpUser):
    """What all have in common: an address, options from the command line."""

    abstract = True
    wait_time = between(0.05, 0.25)

    def on_start(self) -> None:
        self.options: Any = self.environment.parsed_options
        self.address = NEW_YORK + str(random.randrange(1, 255))

    def headers(self, accept: str = "*/*") -> dict[str, str]:
        return {"X-Forwarded-For": self.address, "Accept": accept, "User-Agent": "headgate-loadtest"}

    def forget(self) -> None:
        """Become a new client: without cookies, whatever the gateway knew is gone."""
        self.client.cookiejar.clear()

    def page(self) -> str:
        return str(random.choice(self.options.pages.split(",")))


class Browsing(Visitor):
    """A new visitor each time: opens a page, looks at a few more with the cookie that came, and is gone."""

    weight = 3

    @tag("browse")
    @task
    def visit(self) -> None:
        self.forget()
        self.address = NEW_YORK + str(random.randrange(1, 255))
        headers = self.headers("text/html,application/xhtml+xml")
        self.client.get(self.page(), name="page (new visitor)", headers=headers, context={"drawn": True})
        for _ in range(random.randrange(3)):
            self.wait()  # type: ignore[no-untyped-call]
            self.client.get(self.page(), name="page (same visit)", headers=headers)


class Calling(Visitor):
    """A program that knows no cookies."""

    weight = 3

    @tag("api")
    @task
    def call(self) -> None:
        self.forget()
        self.client.get(self.options.api, name="api", headers=self.headers("application/json"), context={"drawn": True})


class Ordering(Visitor):
    """Posts JSON from a few bytes to 60 KB."""

    weight = 2

    @tag("post")
    @task
    def order(self) -> None:
        self.forget()
        note = "x" * random.choice((10, 400, 4_000, 60_000))
        self.client.post(
            self.options.orders,
            json={"product": random.randrange(100), "note": note},
            name="order",
            headers=self.headers("application/json"),
            context={"drawn": True},
        )


class Streaming(Visitor):
    """Listens to server-sent events to the end. A stream that ends too early or comes from nowhere is a failure."""

    weight = 1

    @tag("stream")
    @task
    def listen(self) -> None:
        self.forget()
        with self.client.get(
            self.options.stream,
            name="stream (first byte)",
            stream=True,
            catch_response=True,
            headers=self.headers("text/event-stream"),
            context={"drawn": True},
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            text = "".join(
                part if isinstance(part, str) else part.decode() for part in response.iter_content(chunk_size=512)
            )
            if not text.endswith("\n\n"):
                response.failure(f"the stream broke off after {len(text)} characters")
            expected = _count_of(self.options.stream)
            if expected is not None and (events := text.count("data:")) != expected:
                response.failure(f"{events} events instead of {expected}")


class Returning(Visitor):
    """Keeps its cookies, and must stay on one upstream while weights do."""

    weight = 3

    def on_start(self) -> None:
        super().on_start()
        self.name = f"{id(self):x}"
        self.home = ""

    @tag("sticky")
    @task
    def come_back(self) -> None:
        with self.client.get(
            self.page(),
            name="page (returning)",
            catch_response=True,
            headers=self.headers("text/html"),
            # The first request has no cookie yet, so weights alone place it; the client stays where it puts it.
            context={"drawn": not self.home, "client": self.name},
        ) as response:
            upstream = served_by(response)
            if upstream:
                if self.home and upstream != self.home and not self.options.weights_change:
                    response.failure(f"a sticky client moved from {self.home} to {upstream}")
                self.home = upstream


class ByRegion(Visitor):
    """Comes from one of several countries: where rules look at geography, these users meet them."""

    weight = 1

    @tag("region")
    @task
    def visit(self) -> None:
        self.forget()
        self.address = random.choice(REGIONS) + str(random.randrange(1, 127))
        self.client.get(self.page(), name="page (regions)", headers=self.headers())


def _count_of(path: str) -> int | None:
    """How many events a path of the sample services asks for."""
    _, _, query = path.partition("?")
    parameters = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    return int(parameters["count"]) if parameters.get("count", "").isdigit() else None
