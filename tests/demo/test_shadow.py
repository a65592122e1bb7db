"""What `headgate diffs` has to find in the demo: the sample services' answers, compared by the demo's own rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from admin.demo.run import TEMPLATE
from admin.demo.service import VERSIONS, Service
from routing.compile import shadowing
from routing.load import load_file
from shadow.answer import Answer
from shadow.compare import Comparer

NOISE = {"$.request_id", "$.generated_at", "$.load", "$.items"}
FAULT = "$.items[*].price"


class Pairs:
    """Answers of two versions to the same request."""

    def __init__(self, stable: TestClient[Request, Application], shadow: TestClient[Request, Application]) -> None:
        self._clients = (stable, shadow)
        declared = load_file(TEMPLATE, {}).routes["shop"].shadow
        assert declared is not None
        rules = shadowing("shop", declared)
        self._comparer = Comparer(rules.comparing, rules.redacting)

    async def differing(self, path: str, accept: str = "*/*") -> set[str]:
        """The fields that differ."""
        answers = []
        for client in self._clients:
            got = await client.get(path, headers={"Accept": accept})
            answers.append(Answer(got.status, [b": ".join(line) for line in got.raw_headers], await got.read(), 0.0))
        compared = self._comparer.compare(answers[0], answers[1], None)
        assert compared.reason == ""
        return {difference.field for difference in compared.shadow}


@pytest.fixture
async def pairs() -> AsyncIterator[Pairs]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(TestClient(TestServer(Service(VERSIONS[name]).app())))
            for name in ("blue", "next")
        ]
        yield Pairs(*clients)


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/", "*/*"), ("/", "text/html"), ("/slow?ms=0", "*/*"), ("/echo", "*/*"), ("/api/events?count=2&every=0", "*/*")],
)
async def test_what_tells_blue_and_next_apart_on_purpose_is_not_compared(pairs: Pairs, path: str, accept: str) -> None:
    assert await pairs.differing(path, accept) == set()


async def test_products_of_next_have_noise_always_and_wrong_prices_now_and_then(pairs: Pairs) -> None:
    answers = [await pairs.differing("/api/products") for _ in range(100)]
    assert set.union(*answers) == {*NOISE, FAULT}
    assert 0 < sum(FAULT in differing for differing in answers) < len(answers)
