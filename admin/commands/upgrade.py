"""`upgrade`: hot restart of the gateway on this machine, waited for."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import typer

from admin.commands.options import StateDir, globals_of
from admin.errors import CommandError

PATIENCE = 60.0


def upgrade(ctx: typer.Context, state: StateDir = None) -> None:
    """Restart the gateway with the code that is installed now, on the same sockets: no request fails.

    Exit with 0 when the new one is ready. Where it can't run, the old one goes on, and its log says why.
    """
    from admin.client import AdminClient, find_address

    given = state or globals_of(ctx).state
    folder = Path(given or os.environ.get("HEADGATE_STATE") or "./headgate-state")
    before = _holder(folder)
    try:
        os.kill(int(before.split()[0]), signal.SIGUSR2)
    except PermissionError as error:
        raise CommandError(f"the gateway of {folder} is another user's") from error
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if (folder / "lock").read_text() == before:
            continue
        try:
            target, _ = find_address(None, str(folder), {})
            with AdminClient(target, timeout=2.0, verify=False) as api:
                if api.exchange("GET", "/health/ready")[0] == 200:
                    print("upgraded")
                    return
        except CommandError:
            pass  # its API is not there yet
    raise CommandError(f"not upgraded within {PATIENCE:.0f} s; the gateway's log says why")


def _holder(folder: Path) -> str:
    """What the gateway that holds the folder has written into its lock. Raises CommandError where there is none."""
    try:
        with (folder / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(f"cannot read {folder / 'lock'}: {error.strerror}") from error
    raise CommandError(f"no gateway runs with {folder}")
