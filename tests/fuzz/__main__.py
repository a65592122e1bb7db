"""`python -m tests.fuzz [libFuzzer's options]`: atheris on heads and chunked bodies, from the seeds in `corpus/`.

A finding is written to the current folder (`crash-*`); new inputs to the folder named by FUZZ_CORPUS, else to one that is thrown
away. Without atheris it says so and ends with 0: it needs clang where there is no wheel, so it is not among the dependencies.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile


def main() -> int:
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed (pip install atheris): nothing was fuzzed by coverage")
        return 0
    with atheris.instrument_imports(include=["proxy", "routing", "tests.fuzz", "h11"]):
        seeds = importlib.import_module("tests.fuzz.seeds")
    with tempfile.TemporaryDirectory() as thrown_away:
        own = os.environ.get("FUZZ_CORPUS", thrown_away)  # libFuzzer writes to the first folder
        atheris.Setup([sys.argv[0], *sys.argv[1:], own, str(seeds.CORPUS)], seeds.check)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
