"""`python -m tests.cases`: a gateway against a set of raw HTTP cases, where one lies beside the repository.

The runner (its README says more) is client and upstream at once and judges the bytes that reach each. Its cases are not part of
the repository, so this is no test of the suite: CI runs it where they exist. Exit 1 if a `must` or a `should` failed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.gateway import Gateway, document

RUNNER = Path(__file__).resolve().parents[2] / "shared" / "cases" / "run_cases.py"
LEVELS = ("must", "should")
PATIENCE = 600.0


def _free_port() -> int:
    """The runner listens on a port that it is told, after the gateway has been told the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def failures(report: Path) -> list[str]:
    """The failed cases that count, one line each. Raises ValueError for a report without any."""
    results = json.loads(report.read_text())["results"]
    if not results:
        raise ValueError("the report has no results")
    return [
        f"{case['level']} {case['id']}: {'; '.join(case['why'])}"
        for case in results
        if case["verdict"] == "FAIL" and case["level"] in LEVELS
    ]


def main() -> int:
    if not RUNNER.is_file():
        print(f"no raw cases beside the repository ({RUNNER.parent.name}/{RUNNER.name}): nothing to run")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), _free_port()
        report = folder / "report.json"
        gateway = Gateway(folder, document({"blue": f"http://127.0.0.1:{port}"})).start()
        try:
            host, own = gateway.addresses[0]
            command = [sys.executable, str(RUNNER), "--proxy", f"{host}:{own}", "--upstream-port", str(port)]
            subprocess.run([*command, "--out", str(report)], check=True, timeout=PATIENCE)
        finally:
            gateway.stop()
        failed = failures(report)
    for line in failed:
        print(line, file=sys.stderr)
    print(f"{len(failed)} of the cases that count failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
