"""The declared document: read, replaced, reloaded; and what that does to live state."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from admin import gateway, laid
from proxy.control import Publish, Published, Reload
from proxy.tasks import spawn
from routing.snapshot import CutbackMode
from tests.admin.conftest import Plane, Start, edit
from tests.support.fake_supervisor import FakeSupervisor

CONFIG = "/v1/config"
YAML = {"Content-Type": "application/yaml"}


async def document(plane: Plane) -> dict[str, Any]:
    found: dict[str, Any] = (await plane.call("GET", CONFIG)).json
    return found


async def reload(plane: Plane) -> dict[str, Any]:
    """SIGHUP, and what the status says after it."""
    assert plane.process.server is not None
    await plane.process.server.reload()
    status: dict[str, Any] = (await plane.call("GET", "/v1/status")).json["config"]
    return status


async def test_the_document_comes_as_json_or_as_the_yaml_that_was_written(plane: Plane) -> None:
    found = await document(plane)
    assert list(found["routes"]) == ["shop", "api", "rest"]
    answer = await plane.call("GET", CONFIG, headers={"Accept": "application/yaml"})
    assert answer.text == plane.config.read_text()
    assert (answer.headers["ETag"], answer.headers["X-Headgate-Source"]) == ('"1"', "file")


async def test_variables_are_shown_by_name_and_work_in_what_is_put_back(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_HEADER", "hunter2")
    text = (
        plane.config.read_text()
        + "    match: {path_prefix: /}\n    rules: [{when: {header: {x-key: '${SECRET_HEADER}'}}, send: blue}]\n"
    )
    text = text.replace("    match: {path_prefix: /}\n    stable: green\n", "    stable: green\n")
    assert (await plane.call("PUT", CONFIG, data=text, headers=YAML)).status == 200
    found = await plane.call("GET", CONFIG)
    assert "hunter2" not in found.text
    assert found.json["routes"]["rest"]["rules"][0]["when"]["header"]["x-key"] == "${SECRET_HEADER}"
    assert (await plane.call("PUT", CONFIG, json=found.json)).status == 200
    body = {"url": "http://x/", "headers": {"x-key": "hunter2"}, "client_ip": "192.0.2.1"}
    assert (await plane.call("POST", "/v1/explain", json=body)).json["upstream"] == "blue"


async def test_a_new_document_is_published_whole_and_answered_with_a_receipt(plane: Plane) -> None:
    wanted = await document(plane)
    wanted["routes"]["new"] = {"match": {"path_prefix": "/new"}, "stable": "canary"}
    answer = await plane.call("PUT", f"{CONFIG}?reason=more", json=wanted)
    assert (answer.status, answer.json["routes"], answer.json["receipt"]["applied"]) == (
        200,
        ["shop", "api", "rest", "new"],
        True,
    )
    assert plane.supervisor.snapshot().route_named("new")
    status = (await plane.call("GET", "/v1/status")).json["config"]
    assert (status["source"], status["revision"]) == ("api", 2)
    entry = (await plane.call("GET", "/v1/audit?limit=1")).json["entries"][0]
    assert (entry["action"], entry["who"], entry["reason"], entry["route"]) == ("config", "admin", "more", None)


async def test_a_dry_run_of_a_document_changes_nothing(plane: Plane) -> None:
    wanted = await document(plane)
    del wanted["routes"]["api"]
    answer = await plane.call("PUT", f"{CONFIG}?dry_run=true", json=wanted)
    assert (answer.status, answer.json["routes"], answer.json["dry_run"]) == (200, ["shop", "rest"], True)
    assert len(plane.supervisor.published) == 1
    assert "api" in (await document(plane))["routes"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("listen: 3\nroutez: {}\n", ["upstreams", "listen", "routez"]),
        ("a: [", [""]),
        ("", [""]),
        ("- 1", [""]),
        ('{"listen": NaN}', ["listen", "routes", "upstreams"]),
    ],
)
async def test_a_bad_document_gets_all_its_problems_and_changes_nothing(
    plane: Plane, body: str, fields: list[str]
) -> None:
    answer = await plane.call("PUT", CONFIG, data=body, headers=YAML)
    assert answer.status == 422
    assert sorted(error["field"] for error in answer.json["errors"]) == sorted(fields)
    assert all({"path", "line", "message"} <= set(error) for error in answer.json["errors"])
    assert len(plane.supervisor.published) == 1


async def test_a_problem_names_path_and_line(plane: Plane) -> None:
    body = plane.config.read_text().replace("canary: 5}", "canray: 5}")
    answer = await plane.call("PUT", CONFIG, data=body, headers=YAML)
    assert [(error["path"], error["line"]) for error in answer.json["errors"]] == [("routes.shop.weights.canray", 12)]
    assert "canary" in answer.json["errors"][0]["message"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", [{"address": "127.0.0.1:1"}]),
        ("workers", 7),
        ("admin", {"address": "127.0.0.1:1"}),
        ("state", "/nowhere"),
    ],
)
async def test_what_takes_a_restart_is_refused_by_name(plane: Plane, key: str, value: object) -> None:
    answer = await plane.call("PUT", CONFIG, json=await document(plane) | {key: value})
    assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (422, [key])
    assert len(plane.supervisor.published) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"), [(b"\xff", YAML, 400), (b"x: 1", {"Content-Type": "text/plain"}, 415)]
)
async def test_a_document_that_cannot_be_read_is_refused(
    plane: Plane, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert (await plane.call("PUT", CONFIG, data=body, headers=headers)).status == status


async def test_a_document_above_the_limit_is_413(plane: Plane) -> None:
    answer = await plane.call("PUT", CONFIG, data=io.BytesIO(b"#" * (16 * 1024 * 1024 + 1)), headers=YAML)
    assert answer.status == 413


async def test_a_document_based_on_an_older_one_is_412(plane: Plane) -> None:
    wanted = await document(plane)
    assert (await plane.call("PUT", CONFIG, json=wanted, headers={"If-Match": '"1"'})).status == 200
    assert (await plane.call("PUT", CONFIG, json=wanted, headers={"If-Match": '"1"'})).status == 412


async def test_a_put_document_survives_a_restart_and_yields_to_a_changed_file(start: Start, plane: Plane) -> None:
    wanted = await document(plane)
    del wanted["routes"]["api"]
    await plane.call("PUT", CONFIG, json=wanted)
    plane.supervisor.close()
    second = await start(FakeSupervisor())
    assert list((await document(second))["routes"]) == ["shop", "rest"]
    assert (await reload(second))["source"] == "api"
    second.config.write_text(second.config.read_text() + "# edited\n")
    assert (await reload(second))["source"] == "file"
    assert "api" in (await document(second))["routes"]


async def test_a_file_changed_while_the_gateway_was_down_wins_over_a_put_document(start: Start, plane: Plane) -> None:
    wanted = await document(plane)
    del wanted["routes"]["api"]
    await plane.call("PUT", CONFIG, json=wanted)
    plane.supervisor.close()
    plane.config.write_text(plane.config.read_text() + "# edited\n")
    second = await start(FakeSupervisor())
    assert "api" in (await document(second))["routes"]
    assert second.supervisor.revision == 3


async def test_live_weights_stay_over_a_reload_that_leaves_the_route_alone(plane: Plane) -> None:
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"canary": 1}})
    text = plane.config.read_text().replace("weights: {blue: 50, green: 50}", "weights: {blue: 60, green: 40}")
    plane.config.write_text(text.replace("weights: {blue: 95, canary: 5}", "weights: {canary: 5.0, blue: 95}"))
    await reload(plane)
    routes = {route["route"]: route for route in (await plane.call("GET", "/v1/routes")).json["routes"]}
    assert (routes["shop"]["weights"], routes["api"]["weights"]) == ({"canary": 1}, {"blue": 60, "green": 40})


async def test_live_weights_are_dropped_and_a_cutback_stays_when_the_file_changes_the_route(plane: Plane) -> None:
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"canary": 1}})
    await plane.call("POST", "/v1/routes/shop/cutback")
    plane.config.write_text(
        plane.config.read_text().replace("weights: {blue: 95, canary: 5}", "weights: {blue: 80, canary: 20}")
    )
    await reload(plane)
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert (route["weights"], route["live"], route["cutback"]["mode"]) == ({"blue": 80, "canary": 20}, None, "cut")
    assert plane.supervisor.published[-1].live["shop"].cutback is CutbackMode.CUT
    entries = (await plane.call("GET", "/v1/audit?route=shop&limit=1")).json["entries"]
    assert entries[0]["action"] == "live_state_dropped"
    assert "changed" in entries[0]["reason"]


async def test_weights_for_an_upstream_that_is_gone_are_dropped(plane: Plane) -> None:
    await plane.call("PUT", "/v1/routes/rest/weights", json={"weights": {"green": 1, "canary": 1}})
    wanted = json.loads(json.dumps(await document(plane)).replace('"canary"', '"next"'))
    answer = await plane.call("PUT", CONFIG, json=wanted)
    assert set(answer.json["dropped"]) == {"rest"}
    assert (await plane.call("GET", "/v1/routes/rest")).json["weights"] == {"green": 100}


async def test_a_route_that_is_gone_takes_its_live_state_along(plane: Plane) -> None:
    whole = await document(plane)
    await plane.call("POST", "/v1/routes/api/cutback")
    without = {**whole, "routes": {name: route for name, route in whole["routes"].items() if name != "api"}}
    assert set((await plane.call("PUT", CONFIG, json=without)).json["dropped"]) == {"api"}
    await plane.call("PUT", CONFIG, json=whole)
    assert (await plane.call("GET", "/v1/routes/api")).json["cutback"] is None


async def test_a_bad_file_changes_nothing_and_is_said_in_the_status(plane: Plane) -> None:
    good = plane.config.read_text()
    plane.config.write_text(good.replace("stable: blue", "stable: bleu"))
    status = await reload(plane)
    assert "did you mean 'blue'" in status["error"]
    assert len(plane.supervisor.published) == 1
    assert (await plane.call("GET", "/health/detailed")).json["checks"]["configuration"] is False
    plane.config.write_text(good)
    assert (await reload(plane))["error"] is None


async def test_a_file_that_changes_what_takes_a_restart_is_adopted_and_says_so(plane: Plane) -> None:
    plane.config.write_text(
        plane.config.read_text().replace("127.0.0.1:0", "127.0.0.1:1").replace("path_prefix: /api", "path_prefix: /v2")
    )
    assert (await reload(plane))["needs_restart"] == ["listen", "admin"]
    assert (await document(plane))["routes"]["api"]["match"] == {"path_prefix": "/v2"}


async def test_a_reload_asked_for_by_the_supervisor_is_made(plane: Plane) -> None:
    plane.config.write_text(plane.config.read_text() + "# edited\n")
    seen = plane.supervisor.revision
    plane.supervisor.send(Reload())
    publish = await plane.supervisor.published_after(seen)
    assert (publish.revision, publish.snapshot is not None) == (seen + 1, True)


async def test_a_cutback_does_not_wait_for_a_document_that_is_being_compiled(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    real = laid.compile_document

    def slow(*arguments: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(gateway, "compile_document", slow)
    put = spawn(plane.call("PUT", CONFIG, json=await document(plane)), "put", lambda error: None)
    await asyncio.to_thread(began.wait, 20)
    assert (await plane.call("POST", "/v1/routes/shop/cutback")).json["receipt"]["applied"]
    go_on.set()
    assert (await put).json["revision"] == 3
    assert plane.supervisor.published[-1].live["shop"].cutback is CutbackMode.CUT


async def test_the_api_serves_tls_and_takes_a_rotated_certificate(start: Start, config: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    files = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue() -> None:
        made = authority.issue_cert("127.0.0.1")
        files[1].write_bytes(made.private_key_pem.bytes())
        files[0].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))

    issue()
    tls = f"tls: {{certificate: {files[0]}, key: {files[1]}}}"
    edit(config, 'admin: {address: "127.0.0.1:0"}', f'admin: {{address: "127.0.0.1:0", {tls}}}')
    plane = await start()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def serial() -> str:
        host, port = plane.url.removeprefix("https://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
        found = str(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()
        await writer.wait_closed()
        return found

    assert plane.url.startswith("https://")
    first = await serial()
    assert await serial() == first
    issue()
    assert plane.process.server is not None
    await plane.process.server.reload()
    assert await serial() != first


async def test_a_document_that_workers_cannot_use_changes_nothing(plane: Plane) -> None:
    """It would be stored otherwise, and no worker or gateway that starts could serve."""
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1}})
    before, revision, all_acked = await document(plane), plane.supervisor.revision, plane.supervisor.all_acked

    def refused(publish: Publish) -> Published:
        plane.supervisor.answer = all_acked
        return Published(publish.revision, 1, 2, 0, 0.001, {}, ("worker 0: no such folder",))

    plane.supervisor.answer = refused
    edit(plane.config, "weights: {blue: 95, canary: 5}", "weights: {blue: 50, canary: 50}")
    answer = await plane.call("PUT", CONFIG, data=plane.config.read_text(), headers=YAML)
    assert (answer.status, "no such folder" in answer.json["detail"]) == (422, True)
    assert await document(plane) == before
    assert plane.supervisor.revision == revision + 2
    shop = plane.supervisor.snapshot().routes[0]
    assert (shop.declared_split.weights, shop.split.only) == ((19, 1), 0)
    cutback = await plane.call("POST", "/v1/routes/shop/cutback")
    assert (cutback.json["revision"], cutback.json["receipt"]["persisted"]) == (revision + 3, True)


async def test_a_maintenance_page_is_read_with_its_document_and_one_that_cannot_be_read_is_refused(
    start: Start, plane: Plane, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("one")
    edit(plane.config, "stable: green", f"stable: green\n    maintenance: {{file: {page}}}")
    for text in ("one", "two"):
        page.write_text(text)
        plane.config.write_text(plane.config.read_text() + "# edited\n")
        assert (await reload(plane))["error"] is None
        maintenance = plane.supervisor.snapshot().routes[2].maintenance
        assert maintenance is not None
        assert maintenance.body.decode() == text
    page.unlink()
    plane.config.write_text(plane.config.read_text() + "# edited\n")
    assert "routes.rest.maintenance.file" in (await reload(plane))["error"]
    assert plane.supervisor.snapshot().routes[2].maintenance == maintenance
    plane.supervisor.close()
    again = await start(FakeSupervisor())  # goes on without it
    assert again.supervisor.snapshot().routes[2].maintenance is None
