"""A gateway whose log nobody reads any more: it cuts back, and it stops."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from admin.client import AdminClient, find_target
from tests.support.gateway import Gateway, document
from tests.support.processes import descendants
from tests.support.stage import Stage
from tests.support.wire import PATIENCE


def test_gateway_without_a_reader_of_its_log_does_what_it_is_told(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin("blue")
    gateway = Gateway(tmp_path, document({"blue": origin.url}))
    command = [sys.executable, "-P", "-m", "admin.cli", "run", str(gateway.config)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        assert any(b'"event":"serving"' in line for line in process.stdout)
        process.stdout.close()
        with AdminClient(find_target(None, None, str(gateway.state), {})) as api:
            assert api.call("POST", "/v1/routes/shop/cutback", {})["receipt"]["applied"]
            assert api.call("DELETE", "/v1/routes/shop/cutback", {})["receipt"]["applied"]
        children = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    finally:
        process.kill()
        process.wait()
