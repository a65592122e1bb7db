"""`rollout --watch`: a rollout followed until it has ended, on a terminal in place and elsewhere line by line."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from admin.client import AdminClient
from admin.errors import CommandError
from admin.render import printable

LOOK_SECONDS = 0.5
# A gateway that is away for longer is no longer waited for: a pipeline has to hear of it.
PATIENCE = 60.0
# A line that says the same with other figures is written this often.
AGAIN_SECONDS = 30.0
ENDED = {"promoted": 0, "cut_back": 2, "aborted": 1}
INTERRUPTED = 130
_WIDTH = 20

Connect = Callable[[], AdminClient]


def follow(connect: Connect, path: str, answer: dict[str, Any], as_json: bool) -> int:
    """The exit code. Raises CommandError where the rollout can't be followed any more."""
    screen = _Screen() if sys.stdout.isatty() and not as_json else _Lines(as_json)
    route, number = answer["route"], answer["number"]
    try:
        while True:
            screen.show(answer)
            if answer["state"] in ENDED:
                return ENDED[answer["state"]]
            time.sleep(LOOK_SECONDS)
            answer = _look(connect, path)
            if answer["number"] != number:
                raise CommandError(f"rollout #{number} of route {route!r} has ended, and another one has begun")
    except KeyboardInterrupt:
        screen.end()
        goes_on = f"the rollout of {route} goes on: `headgate rollout status {route}` shows it"
        print(f"headgate: {goes_on}, `headgate rollout abort {route}` ends it", file=sys.stderr, flush=True)
        return INTERRUPTED
    finally:
        screen.end()


def _look(connect: Connect, path: str) -> dict[str, Any]:
    """The rollout, from a gateway that may be away for a while, and at another address then. Raises CommandError."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with connect() as api:
                status, content = api.exchange("GET", path)
            if status == 200:
                return dict(json.loads(content))
            trouble = CommandError(f"the gateway answers {status}")
        except CommandError as error:
            status, trouble = 503, error
        except ValueError:
            trouble = CommandError("the gateway does not answer with JSON")
        if 400 <= status < 500:
            with connect() as api:
                return dict(api.get(path))  # says what is wrong in words
        if time.monotonic() >= until:
            raise trouble
        time.sleep(LOOK_SECONDS)


class _Lines:
    """A line for each change; what only has other figures is one now and then."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._said: tuple[Any, ...] = ()
        self._at = 0.0

    def show(self, answer: dict[str, Any]) -> None:
        says = (*(answer[key] for key in ("state", "step", "phase", "verdict")), bool(answer["reason"]))
        if says == self._said and time.monotonic() - self._at < AGAIN_SECONDS:
            return
        self._said, self._at = says, time.monotonic()
        print(json.dumps(answer) if self._as_json else line_of(answer), flush=True)

    def end(self) -> None:
        pass


class _Screen:
    """What was drawn last is written over: each line fits into a row of the terminal, so none has to be scrolled away."""

    def __init__(self) -> None:
        self._rows = 0

    def show(self, answer: dict[str, Any]) -> None:
        size = shutil.get_terminal_size()
        lines = [line_of(answer), *_details(answer)][: max(size.lines - 1, 1)]
        up = f"\x1b[{self._rows - 1}F" if self._rows > 1 else "\r"
        print(f"{up}\x1b[J" + "\n".join(line[: max(size.columns - 1, 1)] for line in lines), end="", flush=True)
        self._rows = len(lines)
        self._last = answer

    def end(self) -> None:
        """Leaves what was drawn; in full where it has ended."""
        if not self._rows:
            return
        print()
        if self._last["state"] in ENDED and len(line_of(self._last)) >= shutil.get_terminal_size().columns:
            print(line_of(self._last))
        self._rows = 0


# Showing


def show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
        return
    if answer["dry_run"]:
        print("would begin as:")
    print("\n".join([line_of(answer), *_details(answer)]))


def line_of(answer: dict[str, Any]) -> str:
    """What has changed when this has: one line of a log."""
    step = f"step {answer['step']}/{answer['steps']} {answer['plan'][answer['step'] - 1]['title']}"
    state = answer["state"].replace("_", " ")
    why = f": {answer['reason']}" if answer["reason"] else ""
    if answer["state"] in ENDED:
        return printable(f"{answer['route']}  {state}{why}")
    return printable(f"{answer['route']}  {step}  {state}, {answer['verdict']}{why}")


def _details(answer: dict[str, Any]) -> list[str]:
    lines = []
    step = answer["plan"][answer["step"] - 1]
    if answer["state"] not in ENDED and step["hold"]:
        part = min(1.0, answer["held"] / step["hold"])
        bar = "█" * round(part * _WIDTH) + "░" * (_WIDTH - round(part * _WIDTH))
        lines.append(f"  held      {bar} {answer['held']:.0f} of {step['hold']:.0f} s")
    for name, evidence in _judged(answer):
        lines += _arms(name, evidence)
    lines += [f"  {name}: {gate['message'] or 'not answered yet'}" for name, gate in answer["gates"].items()]
    if answer["sentence"]:
        lines.append(f"  {answer['sentence']}")
    return [printable(line) for line in lines]


def _judged(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What each canary is judged by."""
    evidence, to = answer["evidence"], answer["to"]
    return [(name, evidence[name]) for name in to if name in evidence] if len(to) > 1 else [(to[0], evidence)]


def _arms(canary: str, evidence: dict[str, Any]) -> list[str]:
    lines = []
    for key, name in (("stable", "stable"), ("canary", canary)):
        arm = evidence.get(key, {})
        if "rate" in arm:
            rate = "-" if arm["rate"] is None else f"{100 * arm['rate']:.2f} %"
            low, high = (f"{100 * arm[end]:.2f}" for end in ("low", "high"))
            lines.append(f"  {name:9} {arm['requests']:>9,} requests  errors {rate} ({low} to {high} %)")
    for metric, found in evidence.get("evidence", {}).items():
        lines.append(f"  {metric:14} evidence {_figure(found['value'])} of {_figure(found['needed'])}")
    return lines


def _figure(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"
