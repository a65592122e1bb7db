"""`headgate run`: everything that can be found wrong before a process is started, each as one clear line; then the supervisor."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from pathlib import Path

from setproctitle import setproctitle

from admin.listeners import (
    Addresses,
    ListenError,
    WorkerSockets,
    adopt_sockets,
    keep_sockets,
    kept_problem,
    open_sockets,
    tls_problem,
    workers_of,
)
from admin.supervisor import Supervisor
from admin.systemd import inherited_sockets
from admin.upgrade import LeftOver, left_over
from routing.config import Config
from routing.document import ConfigError
from routing.geo import check_database
from routing.load import load_file
from routing.pages import read_pages

# An admin process without a supervisor ends its calls (1 s) and has 5 s to store what is pending.
LEFT_OVER_SECONDS = 10.0


class LaunchError(Exception):
    """The text is one line for a person, or several, one a problem."""


def run_gateway(config_path: Path) -> int:
    """Run the gateway until it is told to stop. Returns the exit code; says on standard error why it can't run."""
    setproctitle("headgate: supervisor")
    try:
        return _run(config_path)
    except LaunchError as error:
        for line in str(error).splitlines():
            print(f"headgate: {line}", file=sys.stderr)
        return 1


def upgrade_problem(config_path: Path, kept: Addresses) -> str | None:
    """Why these sources can't take over those sockets with that configuration, or None."""
    try:
        return kept_problem(_loaded(config_path), kept)
    except LaunchError as error:
        return str(error)


def _loaded(config_path: Path) -> Config:
    try:
        config = load_file(config_path, os.environ)
    except ConfigError as error:
        raise LaunchError("\n".join(map(str, error.problems))) from error
    problem = _file_problem(config)
    if problem is not None:
        raise LaunchError(problem)
    return config


def _sockets(config: Config, before: LeftOver | None) -> list[WorkerSockets]:
    try:
        if before is not None:
            return keep_sockets(config, before.sockets, outlive_us=before.outlive_us)
        inherited = inherited_sockets(os.environ)
        if inherited:
            return adopt_sockets(config, workers_of(config), inherited)
        return open_sockets(config, workers_of(config))
    except ListenError as error:
        raise LaunchError(str(error)) from error


def _run(config_path: Path) -> int:
    config = _loaded(config_path)
    before = left_over(os.environ)
    state = Path(config.state.dir)
    lock, writer = _lock_state(state)
    slots = _sockets(config, before)

    async def supervise() -> int:
        timeouts = config.timeouts
        supervisor = Supervisor(
            config_path, state, timeouts.drain, slots, writer, before, drain_delay=timeouts.drain_delay
        )
        return await supervisor.run()

    try:
        return asyncio.run(supervise())
    finally:
        os.close(lock)
        os.close(writer)


def _file_problem(config: Config) -> str | None:
    """What is wrong with the files that the configuration names, or None."""
    for number, listen in enumerate(config.listen):
        problem = tls_problem(listen)
        if problem is not None:
            return f"listen[{number}].{problem}"
    for wrong in read_pages(config)[1]:
        return str(wrong)
    if config.geo.database is not None:
        problem = check_database(config.geo.database)
        if problem is not None:
            return f"geo.database: {problem}"
    log = config.access_log
    if log.sample > 0 and log.path != "-":
        try:
            os.close(os.open(log.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o640))
        except OSError as error:
            return f"access_log.path: cannot write {log.path}: {error.strerror}"
    return None


def _lock_state(folder: Path) -> tuple[int, int]:
    """One gateway a state folder, and one writer. Returns the descriptors that hold the two locks; the admin process inherits the
    second, so that after a kill -9 of the supervisor nobody reads the folder while that process stores what it had in hand."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        gateway, writer = (
            os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in ("lock", "writer.lock")
        )
    except OSError as error:
        raise LaunchError(f"state: cannot use {folder}: {error.strerror}") from error
    if not (_locked(gateway) and (_locked(writer) or _left_over_ends(writer))):
        os.close(gateway)
        os.close(writer)
        raise LaunchError(f"state: {folder} is in use by another gateway")
    # Whose it is, for `headgate upgrade`: process id, and a stamp that tells one launch of it from the next.
    os.ftruncate(gateway, 0)
    os.pwrite(gateway, f"{os.getpid()} {time.time_ns()}\n".encode(), 0)
    return gateway, writer


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _left_over_ends(writer: int) -> bool:
    """Wait for an admin process that has outlived its supervisor. True with the lock."""
    print("headgate: waiting for what is left of the gateway before this one", file=sys.stderr, flush=True)
    deadline = time.monotonic() + LEFT_OVER_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if _locked(writer):
            return True
    return False
