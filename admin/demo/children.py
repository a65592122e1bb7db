"""Child processes of the demo: started, watched, and ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from admin.errors import CommandError

# SIGTERM, then this long, then SIGKILL. The gateway of the demo drains for 2 s.
GRACE = 8.0
_START = 30.0


class Child:
    """One process, in a process group of its own: Ctrl-C reaches the demo alone, which then ends the others in order.

    What it writes to stderr goes to `log`; `stdout_line` takes the one line that a sample service says it is ready by.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, command: Iterable[str], log: Path, *, announces: bool) -> Child:
        """`announces`: it writes one line to stdout and nothing more; else stdout goes to the log too."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "admin.demo.tether", str(os.getpid()), sys.executable, "-P", *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if announces else errors,
                stderr=errors,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def stdout_line(self) -> bytes:
        """Raises CommandError where the process ends first."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise CommandError(f"{self.name} did not start within {_START:.0f} s") from error
        if not line:
            await self._process.wait()
            raise self.obituary()
        return line

    async def must_not_end(self) -> None:
        """Raises CommandError as soon as the process ends."""
        await self._process.wait()
        raise self.obituary()

    def obituary(self) -> CommandError:
        """Which process ended, how, and the last it said."""
        code = self._process.returncode
        assert code is not None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        with suppress(OSError):
            said = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            if said:
                return CommandError(f"{self.name} (process {self.pid}) {how}: {said[-1]}")
        return CommandError(f"{self.name} (process {self.pid}) {how}")

    async def stop(self) -> None:
        """End it and what it started. Returns when it is gone."""
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()


async def stop_all(children: Iterable[Child]) -> None:
    """The last started first: the gateway drains while its upstreams are still there."""
    for child in reversed(list(children)):
        await child.stop()
