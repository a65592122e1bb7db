"""`headgate run`: everything that can be found wrong before a process is started, each as one clear line; then the supervisor."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path

from setproctitle import setproctitle

from admin.listeners import ListenError, open_sockets, tls_problem, workers_of
from admin.supervisor import Supervisor
from routing.config import Config
from routing.document import ConfigError
from routing.geo import check_database
from routing.load import load_file


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


def _run(config_path: Path) -> int:
    try:
        config = load_file(config_path, os.environ)
    except ConfigError as error:
        raise LaunchError("\n".join(map(str, error.problems))) from error
    problem = _file_problem(config)
    if problem is not None:
        raise LaunchError(problem)
    state = Path(config.state.dir)
    lock = _lock_state(state)
    try:
        slots = open_sockets(config, workers_of(config))
    except ListenError as error:
        raise LaunchError(str(error)) from error

    async def supervise() -> int:
        return await Supervisor(config_path, state, config.timeouts.drain, slots).run()

    try:
        return asyncio.run(supervise())
    finally:
        os.close(lock)


def _file_problem(config: Config) -> str | None:
    """What is wrong with the files that the configuration names, or None."""
    for number, listen in enumerate(config.listen):
        problem = tls_problem(listen)
        if problem is not None:
            return f"listen[{number}].tls: {problem}"
    if config.geo.database is not None:
        problem = check_database(config.geo.database)
        if problem is not None:
            return f"geo.database: {problem}"
    return None


def _lock_state(folder: Path) -> int:
    """One gateway a state folder. Returns the descriptor that holds the lock."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LaunchError(f"state: cannot use {folder}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise LaunchError(f"state: {folder} is in use by another gateway") from error
    return fd
