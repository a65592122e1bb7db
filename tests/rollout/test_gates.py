"""What others are asked, over real sockets: a Prometheus, and webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession

from admin.rollout.machine import Answer
from admin.rollout.plan import Replace
from admin.rollout.prometheus import query
from admin.rollout.webhooks import call, update
from routing.config_rollout import PrometheusCheck, Update, Webhook
from tests.rollout.plans import Driven, canary, plan

LONG = 600.0
"""Seconds: nothing here waits for it."""


class Server:
    """Answers each request with `answer`, and closes; with none, says nothing. `endless` is sent again and again."""

    def __init__(self, answer: bytes, endless: bytes = b"") -> None:
        self.answer = answer
        self.endless = endless
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.sent = 0
        self.url = ""
        self.open: list[asyncio.StreamWriter] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.bodies.append(await reader.readexactly(int(length or 0)))
            if not self.answer:
                await reader.read()
            writer.write(self.answer)
            while self.endless:
                writer.write(self.endless)
                await writer.drain()
                self.sent += len(self.endless)
        writer.close()


@contextlib.asynccontextmanager
async def serving(answer: bytes, endless: bytes = b"") -> AsyncIterator[Server]:
    server = Server(answer, endless)
    listening = await asyncio.start_server(server.converse, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for writer in server.open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def answer(body: bytes, status: str = "200 OK", fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}Connection: close\r\n\r\n".encode() + body


def found(kind: str, result: Any) -> bytes:
    return answer(json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode())


# Prometheus


async def asked(server: Server, **check: Any) -> Answer:
    check = {"name": "orders", "url": server.url, "query": "sum(rate(orders[1m]))", "min": 10, "max": 20} | check
    async with ClientSession() as session:
        return await query(session, "prometheus orders", PrometheusCheck.model_validate({"timeout": LONG} | check))


@pytest.mark.parametrize(
    ("said", "passed", "message"),
    [
        (found("vector", [{"metric": {}, "value": [1, "12"]}]), True, "orders is 12"),
        (found("scalar", [1, "12.5"]), True, "orders is 12.5"),
        (found("vector", [{"metric": {}, "value": [1, "9.9"]}]), False, "orders is 9.9, below 10"),
        (found("scalar", [1, "21"]), False, "orders is 21, above 20"),
        # no answer, which fails nothing
        (found("vector", []), None, "orders: the query has no value"),
        (found("vector", [{"value": [1, "1"]}] * 2), None, "orders: the query has 2 values; it must have one"),
        (found("vector", [{"value": [1, "NaN"]}]), None, "orders is nan"),
        (found("scalar", [1, "+Inf"]), None, "orders is inf"),
        (found("matrix", []), None, "orders: this is no answer of a Prometheus"),
        (found("vector", [{"histogram": []}]), None, "orders: this is no answer of a Prometheus"),
        (found("vector", {"value": 1}), None, "orders: this is no answer of a Prometheus"),
        (answer(b"[1, 2]"), None, "orders: this is no answer of a Prometheus"),
        (answer(b"null"), None, "orders: this is no answer of a Prometheus"),
        (answer(b"<html>"), None, "orders: unexpected character"),
        (answer(b"x", "400 Bad Request"), None, "orders: URL answers 400"),
        (answer(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), None, "orders: URL answers 302"),
        (b"SSH-2.0-OpenSSH\r\n", None, "orders: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", None, "orders: "),
    ],
)
async def test_a_query_passes_between_min_and_max_and_holds_without_a_value(
    said: bytes, passed: bool | None, message: str
) -> None:
    async with serving(said) as server:
        got = await asked(server)
    assert (got.gate, got.passed) == ("prometheus orders", passed)
    assert got.message.startswith(message.replace("URL", server.url))


async def test_a_query_is_asked_as_prometheus_wants_it() -> None:
    async with serving(found("scalar", [1, "12"])) as server:
        await asked(server, url=f"{server.url}/prefix/")
    method, target, _ = server.heads[0].split(b"\r\n")[0].decode().split(" ")
    assert (method, urlsplit(target).path) == ("GET", "/prefix/api/v1/query")
    assert parse_qs(urlsplit(target).query) == {"query": ["sum(rate(orders[1m]))"]}


async def test_an_answer_without_an_end_is_read_no_further_than_a_megabyte() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n", endless=b" " * 65536) as server:
        got = await asked(server)
    assert (got.passed, got.message) == (None, "orders: the answer is too long")
    assert server.sent < 16 << 20  # what is on its way in buffers included


async def test_a_silent_prometheus_holds() -> None:
    async with serving(b"") as server:
        got = await asked(server, timeout=0.05)
    assert (got.passed, got.message) == (None, "orders: no answer within 0.05 s")


async def test_a_prometheus_that_is_not_there_holds() -> None:
    async with serving(b"") as server:
        pass
    assert (await asked(server)).passed is None


# Webhooks


async def hooked(server: Server, seconds: float = LONG) -> Answer:
    state = Driven(canary()).state
    async with ClientSession() as session:
        hook = Webhook.model_validate({"url": f"{server.url}/gate", "timeout": seconds})
        return await call(session, "webhook 1", hook, state)


@pytest.mark.parametrize(
    ("said", "passed", "message"),
    [
        (answer(b""), True, "200"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "204"),
        (answer(b"too few orders\n", "500 Oh"), False, "URL answers 500: too few orders"),
        (answer(b"", "404 No"), False, "URL answers 404"),
        (answer(b"", "307 There", "Location: http://127.0.0.1:1/\r\n"), False, "URL answers 307"),
        (answer(b"y" * 10_000, "503 No"), False, "URL answers 503: " + "y" * 300),
        (b"", False, "URL: no answer within 0.05 s"),
        (b"nonsense\r\n\r\n", False, "URL: "),
    ],
)
async def test_any_2xx_of_a_webhook_passes_and_nothing_else(said: bytes, passed: bool, message: str) -> None:
    async with serving(said) as server:
        got = await hooked(server, LONG if said else 0.05)
    assert got.passed is passed
    assert got.message.startswith(message.replace("URL", server.url))
    assert "/gate" not in got.message  # a path can be a secret
    assert len(got.message) < 500


async def test_a_webhook_that_is_not_there_fails() -> None:
    async with serving(b"") as server:
        pass
    assert (await hooked(server)).passed is False


async def test_a_webhook_gets_flaggers_fields_and_ours() -> None:
    async with serving(answer(b"")) as server:
        await hooked(server)
    assert server.heads[0].startswith(b"POST /gate HTTP/1.1")
    payload = json.loads(server.bodies[0])
    assert {key: payload[key] for key in ("name", "namespace", "phase", "metadata")} == {
        "name": "canary",
        "namespace": "shop",
        "phase": "Progressing",
        "metadata": {"eventType": "gate"},
    }
    assert {key: payload[key] for key in ("route", "rollout", "to", "step", "steps", "weight")} == {
        "route": "shop",
        "rollout": 1,
        "to": ["canary"],
        "step": 1,
        "steps": 3,
        "weight": 0.0,
    }


async def test_an_update_is_told_which_endpoints_were_drained() -> None:
    state = Driven(plan(stable="canary", pattern="rolling", batch=2)).state
    stage = state.current
    assert isinstance(stage, Replace)
    async with serving(answer(b"")) as server, ClientSession() as session:
        hook = Update.model_validate({"url": server.url, "timeout": LONG})
        assert (await update(session, hook, state, stage)).passed
    payload = json.loads(server.bodies[0])
    assert (payload["upstream"], payload["endpoints"]) == ("canary", list(stage.endpoints))
