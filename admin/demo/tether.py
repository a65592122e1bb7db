"""`python -m admin.demo.tether PARENT COMMAND…`: becomes COMMAND, which gets SIGTERM when the process PARENT dies.

So nothing of the demo is left running even when the demo itself is killed with SIGKILL. Linux does this (prctl(2),
PR_SET_PDEATHSIG), and keeps it over exec; elsewhere the command just runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the demo's own commands, no shell


if __name__ == "__main__":
    main()
