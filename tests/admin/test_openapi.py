"""openapi.json against the handlers: every operation is called with made-up requests, and every answer is one that it declares."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from admin.api.openapi import openapi
from admin.api.operations import OPERATIONS
from tests.admin.conftest import CONFIG, Plane
from tests.support.fake_supervisor import FakeSupervisor

DESCRIPTION = openapi("1.2.3")


class Live:
    """A real admin process with a fake supervisor, on a loop in a thread: schemathesis calls it from the test's thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._supervisor = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        self.url, self.token = ((folder / "state" / name).read_text().strip() for name in ("admin.url", "admin.token"))

    async def _start(self) -> FakeSupervisor:
        config = self._folder / "headgate.yaml"
        config.write_text(CONFIG.replace("STATE", str(self._folder / "state")))
        supervisor = FakeSupervisor()
        await supervisor.start(config, cwd=self._folder)
        await supervisor.ready()
        return supervisor

    def log(self) -> str:
        return self._supervisor.log()

    def stop(self) -> int:
        code = asyncio.run_coroutine_threadsafe(self._supervisor.drain(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        return code


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(tmp_path_factory.mktemp("openapi"))
    yield live
    log = live.log()
    assert live.stop() == 0
    assert "Traceback" not in log


def test_the_description_is_valid_openapi() -> None:
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.validate()


def test_every_call_is_described_with_its_roles_and_refusals() -> None:
    described = {(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}
    for methods in DESCRIPTION["paths"].values():
        for operation in methods.values():
            assert operation["security"] == [] or "401" in operation["responses"]


async def test_the_api_serves_the_description(plane: Plane) -> None:
    served = (await plane.call("GET", "/openapi.json")).json
    assert served["paths"] == DESCRIPTION["paths"]
    assert served["info"]["version"] == plane.context.version


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", operation.path.replace("{route}", "shop"), operation.path)
        for operation in OPERATIONS
        if operation.method == "GET"
    ],
)
async def test_real_answers_have_the_declared_shape(plane: Plane, method: str, path: str, template: str) -> None:
    answer = await plane.call(method, path)
    declared: dict[str, Any] = DESCRIPTION["paths"][template][method.lower()]["responses"][str(answer.status)][
        "content"
    ]
    ((content_type, content),) = declared.items()
    assert answer.headers["Content-Type"].startswith(content_type)
    if answer.json is not None:
        whole = {**content["schema"], "components": DESCRIPTION["components"]}
        jsonschema_rs.validator_for(whole).validate(answer.json)


schema = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path="/v1/events")  # has no end


@schema.parametrize()
@settings(
    max_examples=12,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_made_up_requests_get_declared_answers(case: schemathesis.Case[Any], live: Live) -> None:
    response = case.call(base_url=live.url, headers={"Authorization": f"Bearer {live.token}"})
    case.validate_response(
        response,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            schemathesis.checks.not_a_server_error,
        ],
    )
