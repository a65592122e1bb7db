"""The workers' code compiled by mypyc: the same modules, 30 % less processor time a request (docs/performance.md).

`make compile` (`python -m admin.compiled`) makes it where a C compiler is at hand; without one the workers run the sources as
they are. The result lies outside the packages, under a name made of the sources' hash, so edited sources are never shadowed:
they simply have no compiled form until it is made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

PACKAGES = ("routing", "proxy", "shadow")
# What a request passes through. The rest (control plane, coroutines, enums with fields) gains nothing or does not compile.
MODULES = (
    "routing/addresses.py",
    "routing/conditions.py",
    "routing/decide.py",
    "routing/match.py",
    "routing/request.py",
    "routing/shadowing.py",
    "routing/snapshot.py",
    "routing/sticky.py",
    "routing/weights.py",
    "proxy/answering.py",
    "proxy/arms.py",
    "proxy/capture.py",
    "proxy/client.py",
    "proxy/exchange.py",
    "proxy/fields.py",
    "proxy/plane.py",
    "proxy/breaker.py",
    "proxy/choice.py",
    "proxy/leasing.py",
    "proxy/pool.py",
    "proxy/rotation.py",
    "proxy/own_answer.py",
    "proxy/request_head.py",
    "proxy/request_parser.py",
    "proxy/response_head.py",
    "proxy/response_parser.py",
    "proxy/retrying.py",
    "proxy/sending.py",
    "proxy/stats.py",
    "proxy/tunnel.py",
    "proxy/upstream.py",
    "proxy/capture_frames.py",
    "shadow/answer.py",
    "shadow/call.py",
    "shadow/comparisons.py",
    "shadow/equal.py",
    "shadow/intake.py",
    "shadow/mirror.py",
    "shadow/pair.py",
    "shadow/replay.py",
    "shadow/route.py",
    "shadow/window.py",
)
_ROOT = Path(__file__).resolve().parents[1]


@cache
def fingerprint(root: Path = _ROOT) -> str:
    """Of the sources below `root` and of the interpreter that runs them."""
    digest = hashlib.sha256(f"{sysconfig.get_config_var('SOABI')} {MODULES}".encode())
    for package in PACKAGES:
        for source in sorted((root / package).glob("*.py")):
            digest.update(f"{package}/{source.name}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def compiled_path() -> Path | None:
    """The folder to put before the sources on a worker's path, or None where these sources were not compiled.
    `HEADGATE_COMPILED=0` in the environment turns it off."""
    if os.environ.get("HEADGATE_COMPILED") == "0":
        return None
    folder = _home(sys.prefix) / fingerprint()
    return folder if folder.is_dir() else None


def _home(prefix: str) -> Path:
    return Path(prefix) / "lib" / "headgate-compiled"


def build(prefix: str = sys.prefix) -> str | None:
    """Compile for the environment at `prefix`, with mypyc from this one; same interpreter. Returns why that can't be done
    here, or None. Raises subprocess.CalledProcessError if it fails half way."""
    home = _home(prefix)
    target = home / fingerprint()
    if target.is_dir():
        return None
    if shutil.which(os.environ.get("CC", "cc")) is None:
        return "there is no C compiler"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's C headers are not installed"
    print("Compiling the workers' code (once for each state of the sources; about 20 seconds)", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as name:
        folder = Path(name)
        for package in PACKAGES:
            shutil.copytree(_ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "setup.py").write_text(
            "from setuptools import setup\nfrom mypyc.build import mypycify\n"
            f"setup(name='headgate-compiled', packages=[], ext_modules=mypycify({list(MODULES)!r}, opt_level='3'))\n"
        )
        (folder / "mypy.ini").write_text(
            "[mypy]\npython_version = 3.11\nignore_missing_imports = True\nwarn_unused_ignores = False\n"
        )
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.stderr.write(done.stdout + done.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        shutil.rmtree(folder / "build")
        for old in home.iterdir():
            if not old.name.startswith(tempfile.gettempprefix()):  # another build may be under way
                shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(folder, target)
    return None


def main() -> int:
    """`python -m admin.compiled [--prefix DIR]`: DIR is a virtual environment other than this one."""
    prefix = sys.argv[2] if sys.argv[1:2] == ["--prefix"] else sys.prefix
    try:
        problem = build(prefix)
    except subprocess.CalledProcessError as error:
        problem = f"the compiler failed (exit status {error.returncode})"
    if problem is not None:
        print(
            f"workers will run uncompiled, at about 1.4 times the processor time a request: {problem}", file=sys.stderr
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
