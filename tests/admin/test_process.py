"""The admin process as the supervisor meets it: started, drained, orphaned, killed, and refusing to start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.control import Failed, Heartbeat, InForce, Notice, Publish, Ready
from routing.snapshot import CutbackMode, Live
from tests.admin.conftest import edit
from tests.support.fake_supervisor import ROOT, FakeSupervisor
from tests.support.wire import PATIENCE

CUT = Live(None, CutbackMode.CUT)


@pytest.fixture
async def supervisor() -> AsyncIterator[FakeSupervisor]:
    supervisor = FakeSupervisor()
    yield supervisor
    if supervisor.process is not None and supervisor.process.returncode is None:
        await supervisor.kill()
    supervisor.close()


async def call(folder: Path, method: str, path: str, **options: Any) -> Any:
    url, token = ((folder / "state" / name).read_text().strip() for name in ("admin.url", "admin.token"))
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url + path, **options) as response,
    ):
        return await response.json(content_type=None)


def title_of(pid: int) -> bytes:
    """As `ps` shows it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")


async def refusal(supervisor: FakeSupervisor, config: Path, tmp_path: Path) -> str:
    """Start where it must fail: the one line it says, after exit code 1."""
    await supervisor.start(config, cwd=tmp_path)
    failed = await supervisor.first(Failed)
    assert await supervisor.ended() == 1
    assert not any(isinstance(message, Ready) for message in supervisor.received)
    assert "\n" not in failed.reason
    assert "Traceback" not in supervisor.log()
    return failed.reason


async def test_it_publishes_serves_says_so_and_ends_when_drained(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    kinds = [type(message) for message in supervisor.received]
    assert kinds.index(Heartbeat) < kinds.index(Publish) < kinds.index(Ready)
    assert (await call(tmp_path, "GET", "/v1/status"))["revision"] == 1
    assert supervisor.process is not None
    assert title_of(supervisor.process.pid) == b"headgate: admin"
    supervisor.send(Notice("worker 0", "error", "geo database not reloaded", "cut short"))
    assert await supervisor.drain() == 0
    assert any(json.loads(line).get("source") == "worker 0" for line in supervisor.log().splitlines())


async def test_it_ends_with_its_supervisor(supervisor: FakeSupervisor, config: Path, tmp_path: Path) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    supervisor.close()
    assert await supervisor.ended() == 0


async def test_it_beats_from_the_loop(supervisor: FakeSupervisor, config: Path, tmp_path: Path) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    count = supervisor.count(Heartbeat)
    await supervisor.until(lambda: supervisor.count(Heartbeat) >= count + 3)


async def test_a_second_start_has_the_same_token_node_and_live_state(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    await call(tmp_path, "PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1, "canary": 1}})
    await call(tmp_path, "POST", "/v1/routes/api/cutback")
    token = (tmp_path / "state" / "admin.token").read_text()
    node = (await call(tmp_path, "GET", "/v1/status"))["node"]
    secret = supervisor.snapshot().routes[0].sticky
    await supervisor.kill()
    again = FakeSupervisor()
    await again.start(config, cwd=tmp_path)
    await again.ready()
    assert again.published[0].live == {"shop": Live((("blue", 1), ("canary", 1))), "api": CUT}
    assert again.revision == 3
    assert again.snapshot().routes[0].sticky == secret
    assert (tmp_path / "state" / "admin.token").read_text() == token
    assert (await call(tmp_path, "GET", "/v1/status"))["node"] == node
    await again.drain()


async def test_killed_between_telling_the_workers_and_storing_it_goes_on_from_the_workers(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    supervisor.in_force = InForce(7, {"shop": CUT})
    await supervisor.start(config, "--state", str(tmp_path / "state"), cwd=tmp_path)
    await supervisor.ready()
    assert (supervisor.revision, supervisor.published[0].live["shop"]) == (8, CUT)
    route = await call(tmp_path, "GET", "/v1/routes/shop")
    assert (route["cutback"]["by"], route["revision"]) == ("unknown", 8)
    entries = (await call(tmp_path, "GET", "/v1/audit?route=shop"))["entries"]
    assert [entry["action"] for entry in entries] == ["taken_over"]


async def test_a_restart_of_admin_alone_serves_with_the_last_good_document_while_the_file_is_broken(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    await supervisor.kill()
    edit(config, "routes:", "routes: [")
    again = FakeSupervisor()
    again.in_force = InForce(supervisor.revision, {})
    await again.start(config, "--state", str(tmp_path / "state"), cwd=tmp_path)
    await again.ready()
    assert (await call(tmp_path, "POST", "/v1/routes/shop/cutback"))["receipt"]["applied"]
    await again.drain()


async def test_a_bad_configuration_is_refused_with_its_problems(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    edit(config, "stable: blue", "stable: bleu")
    reason = await refusal(supervisor, config, tmp_path)
    assert str(config) in reason
    assert "did you mean 'blue'" in reason


@pytest.mark.parametrize("state", [None, "state"])
async def test_a_broken_file_is_refused_when_no_worker_has_anything(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path, state: str | None
) -> None:
    edit(config, "routes:", "routes: [")
    await supervisor.start(config, *(("--state", state) if state else ()), cwd=tmp_path)
    failed = await supervisor.first(Failed)
    assert "not valid YAML" in failed.reason
    assert await supervisor.ended() == 1


async def test_a_database_of_a_newer_headgate_is_refused_and_left_alone(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    await supervisor.kill()
    path = tmp_path / "state" / "state.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    again = FakeSupervisor()
    assert "newer Headgate" in await refusal(again, config, tmp_path)
    again.close()
    assert path.exists()


async def test_a_state_folder_that_is_a_file_is_refused(
    supervisor: FakeSupervisor, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("")
    assert str(tmp_path / "state") in await refusal(supervisor, config, tmp_path)


async def test_an_admin_port_in_use_is_refused(supervisor: FakeSupervisor, config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edit(config, 'admin: {address: "127.0.0.1:0"}', f'admin: {{address: "127.0.0.1:{port}"}}')
        assert f"127.0.0.1:{port}" in await refusal(supervisor, config, tmp_path)


HANGS = """
import asyncio, sys
from admin import process

async def hang(self):
    await asyncio.Event().wait()

process.AdminProcess._stop = hang
process.LAST_CHANCE_SECONDS = process.END_SECONDS = 0.1
sys.exit(process.main())
"""


async def test_an_end_that_hangs_ends_all_the_same(config: Path, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.close()  # nobody is there who would kill it
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HANGS, "--control-fd", str(theirs.fileno()), str(config),
            pass_fds=[theirs.fileno()], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == -signal.SIGALRM
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def killer(pid: int, revision: int, after: float) -> Callable[[Publish], None]:
    """SIGKILL so long after that revision is published: before the workers' answer, in the midst of the commit, or after it."""

    def on_publish(publish: Publish) -> None:
        if publish.revision == revision and not after:
            os.kill(pid, signal.SIGKILL)
        elif publish.revision == revision:
            asyncio.get_running_loop().call_later(after, os.kill, pid, signal.SIGKILL)

    return on_publish


@pytest.mark.parametrize("rounds", [10])
async def test_whatever_was_answered_as_persisted_survives_kill_at_any_moment(
    config: Path, tmp_path: Path, rounds: int
) -> None:
    """Changes without a pause, SIGKILL in the midst of them, and what the next start publishes compared with the answers."""
    persisted: dict[str, int] = {"revision": 0, "canary": 0}
    for round_ in range(rounds):
        supervisor = FakeSupervisor()
        await supervisor.start(config, cwd=tmp_path)
        await supervisor.ready()
        if persisted["revision"]:
            live = supervisor.published[0].live["shop"]
            assert live.weights is not None
            # the change under way at the kill may have been stored just before it could be answered
            assert dict(live.weights)["canary"] in (persisted["canary"], persisted["canary"] + 1)
            assert supervisor.revision in (persisted["revision"], persisted["revision"] + 1)
            audit = await call(tmp_path, "GET", "/v1/audit?limit=1000&route=shop")
            assert [entry["revision"] for entry in audit["entries"]] == list(range(supervisor.revision, 1, -1))
            persisted["canary"] = int(dict(live.weights)["canary"])
        assert supervisor.process is not None
        supervisor.on_publish = killer(supervisor.process.pid, supervisor.revision + 5, after=round_ * 0.0005)
        url, token = ((tmp_path / "state" / name).read_text().strip() for name in ("admin.url", "admin.token"))
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            try:
                while True:
                    body = {"weights": {"blue": 1, "canary": persisted["canary"] + 1}}
                    async with session.put(f"{url}/v1/routes/shop/weights", json=body) as response:
                        answer = await response.json()
                    assert answer["receipt"]["persisted"]
                    persisted = {"revision": answer["revision"], "canary": body["weights"]["canary"]}
            except aiohttp.ClientError:
                pass
        assert await supervisor.ended() == -signal.SIGKILL
