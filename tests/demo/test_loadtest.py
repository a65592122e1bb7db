"""`make loadtest`, short: the demo, locust and the changes of weights in between are the real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_loadtest_while_weights_change_holds_and_says_so() -> None:
    command = [sys.executable, "-m", "loadtests", "--seconds", "4", "--users", "12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "All held."
    phases = [line.split("  ")[0] for line in lines[5:] if line.startswith(("declared", "first", "second", "cutback"))]
    assert phases == ["declared", "first change", "second change", "cutback"]
    assert any(line.endswith(", failed: 0") for line in lines)
    assert lines[-2].startswith("shadow: ")
