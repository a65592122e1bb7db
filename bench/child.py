"""A process of the bench: asked in lines of JSON on its standard input, answering on its output, gone when the input ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from bench.figures import BenchError

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Child:
    """`with Child("origin", "blue") as origin`: runs `python -m bench.origin blue`. `hello` is the first line it wrote."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"bench.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._name = module
        self.hello = self._line()

    def ask(self, do: str, **parameters: object) -> dict[str, Any]:
        """Waits for the answer, as long as it takes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **parameters}).encode() + b"\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"bench.{self._name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


async def answer_stdin(hello: dict[str, Any], answer: Answer) -> None:
    """The child's side. Returns when the bench is gone or wants no more."""
    say(hello)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        say(await answer(json.loads(line)))


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
