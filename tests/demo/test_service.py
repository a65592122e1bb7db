"""The sample services: what tells them apart, and what the gateway's tests lean on."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from admin.demo.service import VERSIONS, Service

Client = TestClient[Request, Application]


@pytest.fixture(params=sorted(VERSIONS))
async def service(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Client]]:
    name = request.param
    async with TestClient(TestServer(Service(VERSIONS[name]).app())) as client:
        yield name, client


async def test_service_for_a_program_says_its_name_and_version_in_a_line(service: tuple[str, Client]) -> None:
    name, client = service
    answer = await client.get("/anything")
    assert answer.headers["X-Served-By"] == name
    assert await answer.text() == f"{name} {VERSIONS[name].version}\n"


async def test_service_for_a_browser_answers_a_page_in_its_colour(service: tuple[str, Client]) -> None:
    name, client = service
    page = await (await client.get("/", headers={"Accept": "text/html,*/*"})).text()
    assert f"background: {VERSIONS[name].colour};" in page
    assert f"<title>{name} {VERSIONS[name].version}</title>" in page
    assert all(version.colour in page for version in VERSIONS.values())


async def test_service_products_and_orders_name_who_answered(service: tuple[str, Client]) -> None:
    name, client = service
    products = await (await client.get("/api/products")).json()
    assert (products["served_by"], len(products["items"])) == (name, 3)
    answer = await client.post("/api/orders", data=b"x" * 1000)
    assert (answer.status, answer.headers["Location"]) == (201, f"/api/orders/{name}-1")
    assert (await answer.json())["bytes"] == 1000


async def test_service_event_stream_has_the_events_asked_for(service: tuple[str, Client]) -> None:
    name, client = service
    answer = await client.get("/api/events?count=3&every=0")
    assert answer.content_type == "text/event-stream"
    lines = [line for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    assert [json.loads(line[6:]) for line in lines] == [{"served_by": name, "number": number} for number in range(3)]


async def test_service_echo_shows_the_request_as_it_came(service: tuple[str, Client]) -> None:
    _, client = service
    answer = await client.put("/echo?a=1", data=b"body", headers={"X-Forwarded-For": "192.0.2.1"})
    echo = await answer.json()
    assert (echo["method"], echo["path"], echo["bytes"]) == ("PUT", "/echo?a=1", 4)
    assert ["X-Forwarded-For", "192.0.2.1"] in echo["headers"]


async def test_service_arrivals_count_requests_after_a_moment_and_no_probes(service: tuple[str, Client]) -> None:
    _, client = service
    await client.get("/")
    between = time.monotonic()
    await client.get("/slow?ms=0")
    await client.get("/health/ready")
    arrived = await (await client.get(f"/arrivals?after={between}")).json()
    assert arrived["after"] == 1
    assert arrived["last"] > between


@pytest.mark.parametrize("path", ["/slow?ms=soon", "/api/events?count=nan", "/arrivals?after=x"])
async def test_service_parameter_that_is_no_number_is_400(service: tuple[str, Client], path: str) -> None:
    _, client = service
    assert (await client.get(path)).status == 400
