"""The demo from start to end: services, configuration, gateway, traffic; and everything ended again at the end."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from admin.demo.children import Child, stop_all
from admin.demo.guide import guide
from admin.demo.service import VERSIONS
from admin.demo.traffic import Trickle
from admin.errors import CommandError

TEMPLATE = Path(__file__).with_name("gateway.yaml")
_TEMPLATE_PORTS = {"blue": 9001, "green": 9002, "canary": 9003, "next": 9004}
_HOST = "127.0.0.1"
_START = 30.0
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """`port` and `admin_port` 0 take free ones; `state` None a temporary folder, removed at the end."""

    port: int
    admin_port: int
    traffic: bool
    state: Path | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A demo that serves. `services` are the sample services' own addresses."""

    gateway: str
    admin: str
    state: Path
    config: Path
    services: dict[str, str]
    children: tuple[Child, ...]

    def to_json(self) -> str:
        return json.dumps(
            {
                "gateway": self.gateway,
                "admin": self.admin,
                "state": str(self.state),
                "config": str(self.config),
                "services": self.services,
                "pids": {child.name: child.pid for child in self.children},
            }
        )


def configuration(port: int, admin_port: int, services: dict[str, int], state: Path) -> str:
    """The template with the ports and folders of this run."""
    text = TEMPLATE.read_text()
    text = text.replace("127.0.0.1:8080", f"{_HOST}:{port}").replace("127.0.0.1:9901", f"{_HOST}:{admin_port}")
    for name, number in services.items():
        text = text.replace(f"127.0.0.1:{_TEMPLATE_PORTS[name]}", f"{_HOST}:{number}")
    text = text.replace("next.localhost:8080", f"next.localhost:{port}")
    # JSON's texts are YAML's too, whatever characters a path has.
    text = text.replace("state: ./headgate-state", f"state: {json.dumps(str(state))}")
    return text.replace("{path: headgate-access.log}", f"{{path: {json.dumps(str(state / 'access.log'))}}}")


def claim(port: int, option: str) -> int:
    """The port, or a free one for 0. Raises CommandError where it can't be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise CommandError(f"port {port} {taken}; {option} takes another") from error
        return int(probe.getsockname()[1])


def demo(options: Options) -> int:
    """Blocks until SIGINT, SIGTERM or SIGHUP, or until one of the processes ends. Returns the exit code."""
    try:
        asyncio.run(_until_signal(options))
    except CommandError as error:
        print(f"headgate: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_signal(options: Options) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end() -> None:
        # Once: a second Ctrl-C must not interrupt the ending of the processes.
        for number in signals:
            loop.add_signal_handler(number, lambda: None)
        if not options.as_json:
            print("\nStopping.", flush=True)
        task.cancel()

    for number in signals:
        loop.add_signal_handler(number, end)
    try:
        await _serve(options)
    except asyncio.CancelledError:
        pass
    except ExceptionGroup as group:
        raise _first(group) from None


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _serve(options: Options) -> None:
    """Runs until cancelled; raises ExceptionGroup or CommandError when something fails."""
    trickle = Trickle()
    try:
        async with _running(options) as running, asyncio.TaskGroup() as group:
            for child in running.children:
                group.create_task(child.must_not_end())
            if options.traffic:
                group.create_task(trickle.run(running.gateway))
            print(running.to_json() if options.as_json else guide(running), flush=True)
    finally:
        if trickle.sent and not options.as_json:
            print(f"The demo's own traffic: {trickle.sent} requests, {trickle.failed} failed.", flush=True)


@asynccontextmanager
async def _running(options: Options) -> AsyncIterator[Running]:
    port, admin_port = claim(options.port, "--port"), claim(options.admin_port, "--admin-port")
    with (
        tempfile.TemporaryDirectory(prefix="headgate-demo-", ignore_cleanup_errors=True) as temporary,
        _held((options.state or Path(temporary)).absolute()) as state,
    ):
        children: list[Child] = []
        try:
            ports = await _start_services(children, state)
            config = state / "demo.yaml"
            config.write_text(configuration(port, admin_port, ports, state))
            url_file = UrlFile(state / "admin.url")
            command = ("-m", "admin.cli", "run", str(config))
            gateway = await Child.start("gateway", command, state / "gateway.log", announces=False)
            children.append(gateway)
            admin = await _ready(gateway, url_file)
            services = {name: f"http://{_HOST}:{number}" for name, number in ports.items()}
            yield Running(f"http://{_HOST}:{port}", admin, state, config, services, tuple(children))
        finally:
            await stop_all(children)


async def _start_services(children: list[Child], state: Path) -> dict[str, int]:
    for name in VERSIONS:
        command = ("-m", "admin.demo.service", name)
        # Into the list at once: whatever fails next, it has to be ended.
        children.append(await Child.start(name, command, state / f"{name}.log", announces=True))
    lines = await asyncio.gather(*(child.stdout_line() for child in children))
    return {said["name"]: said["port"] for said in map(json.loads, lines)}


@contextmanager
def _held(state: Path) -> Iterator[Path]:
    """The folder, made and for this demo alone. Raises CommandError."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"the state folder {state} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"the state folder {state} is in use by another demo") from error
        yield state
    finally:
        os.close(lock)


class UrlFile:
    """The admin API's address, once a gateway that starts from now on has written it; another's stays as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def read(self) -> str:
        return "" if self._identity() in (None, self._before) else self._path.read_text().strip()


async def _ready(gateway: Child, url_file: UrlFile) -> str:
    """The admin API's address, once the gateway is ready. Raises CommandError where it ends or takes too long."""
    try:
        async with asyncio.timeout(_START), aiohttp.ClientSession() as session:
            while not gateway.ended:
                url = url_file.read()
                if url and await _is_ready(session, url):
                    return url
                await asyncio.sleep(_POLL)
    except TimeoutError as error:
        raise CommandError(f"the gateway was not ready within {_START:.0f} s; its log: {gateway.log}") from error
    raise gateway.obituary()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
