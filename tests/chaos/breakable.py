"""What of a gateway's surroundings can be broken without harm to the machine: its wall clock, and the disk of its state folder."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
DISK_BYTES = 32 * 1024 * 1024


class Clock:
    """The wall clock of the processes that run with `environ`; the system's own where there is no C compiler."""

    def __init__(self, folder: Path) -> None:
        self.environ: dict[str, str] = {}
        self._page: mmap.mmap | None = None
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            return
        library, page = folder / "clock.so", folder / "clock"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
        page.write_bytes(bytes(8))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.environ = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(page)}

    @property
    def movable(self) -> bool:
        return self._page is not None

    def jump(self, ahead: int) -> None:
        """So many seconds ahead of the system's, or behind."""
        assert self._page is not None
        self._page[:] = struct.pack("=q", ahead)


class Disk:
    """A small filesystem of its own at `folder`, where we may mount one; else the admin process is kept from writing to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
        try:
            self.own = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            self.own = False

    def close(self) -> None:
        if self.own:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    @contextlib.contextmanager
    def full(self, admin: Callable[[], int]) -> Iterator[None]:
        """Not a byte is left."""
        if not self.own:
            unlimited = resource.RLIM_INFINITY
            resource.prlimit(admin(), resource.RLIMIT_FSIZE, (0, unlimited))
            try:
                yield
            finally:
                resource.prlimit(admin(), resource.RLIMIT_FSIZE, (unlimited, unlimited))
            return
        ballast = self._folder / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for size in (1 << 20, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(size))
            yield
        finally:
            ballast.unlink()
