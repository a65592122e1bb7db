"""The one door to a configuration: text, file or tree in; a checked document out, or every problem at once.

A document with mistakes is judged further with the mistaken parts taken out, so that a mistyped key in one route does
not hide an unknown upstream in another. What the taking out itself would cause is not reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from routing.check import Finding, findings, shadow_problems
from routing.check_notifications import secret_problems
from routing.check_rollout import rollout_problems
from routing.config import FORM, LIST, TEXT, Config, Shadow
from routing.config_rollout import Rollout
from routing.config_types import NAME_PATTERN
from routing.document import ConfigError, Document, Loc, Problem, of_tree, path_text, read, suggestion

_ROUNDS = 50
M = TypeVar("M", bound=BaseModel)


def load_text(text: str, environ: Mapping[str, str], source: str = "") -> Config:
    """Raises ConfigError with all problems."""
    return _load(read(text, environ, source), source)


def load_file(path: str | Path, environ: Mapping[str, str]) -> Config:
    """Raises ConfigError, also where the file cannot be read."""
    return load_text(read_file(path), environ, str(path))


def read_file(path: str | Path) -> str:
    """The file's text. Raises ConfigError where it cannot be read."""
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise ConfigError([Problem("", None, f"cannot read {path}: {error.strerror}")], str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", None, f"{path} is not UTF-8 text")], str(path)) from error


def load_tree(tree: object, environ: Mapping[str, str] | None = None) -> Config:
    """A document that is parsed already, such as the body of a PUT. Raises ConfigError with all problems."""
    return _load(of_tree(tree, {} if environ is None else environ), "")


def _load(document: Document, source: str) -> Config:
    if not isinstance(document.tree, dict):
        message = "the document must be a mapping with listen, upstreams and routes"
        raise ConfigError([*(document.problem(*f) for f in document.findings), Problem("", None, message)], source)
    pruned = _Pruned(document.tree)
    for loc in document.broken:
        pruned.take_out(loc, explains=loc)
    found = [*document.findings, *secret_problems(document)]
    config = _validated(pruned, found)
    if config is not None:
        upstreams = document.tree.get("upstreams")
        names = frozenset(upstreams) if isinstance(upstreams, dict) else frozenset[str]()
        across = ((pruned.origin(loc), message) for loc, message in findings(config, names))
        found += [(loc, message) for loc, message in across if not pruned.explains(loc)]
    if found or config is None:
        problems = [document.problem(*finding) for finding in dict.fromkeys(found)]
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0), source)
    config.remember(document)
    return config


def load_shadow(tree: Mapping[str, object], stable: str | None, upstreams: Collection[str]) -> Shadow:
    """A shadow of live keys laid over declared ones. Raises ConfigError with every problem, by its place in the shadow."""
    return _section(Shadow, "shadow", tree, lambda shadow: shadow_problems(shadow, stable, upstreams))


def load_rollout(
    tree: Mapping[str, object], stable: str | None, upstreams: Collection[str], *, sticky: bool
) -> Rollout:
    """A plan that was brought instead of the route's own. Likewise."""
    return _section(Rollout, "rollout", tree, lambda plan: rollout_problems(plan, stable, sticky, upstreams))


def _section(model: type[M], key: str, tree: Mapping[str, object], across: Callable[[M], Iterable[Finding]]) -> M:
    """What the document has under that key of a route, brought by itself."""
    try:
        section = model.model_validate(tree)
    except ValidationError as error:
        found: list[Finding] = []
        for details in error.errors(include_url=False):
            loc = _place(details)
            if details["type"] == "extra_forbidden":
                close = get_close_matches(str(loc[-1]), _keys_at(("routes", "", key, *loc[:-1])), 1, 0.6)
                found.append((loc, f"unknown key{f', did you mean {close[0]!r}?' if close else ''}"))
            else:
                found.append((loc, _plain(details)))
    else:
        found = list(across(section))
        if not found:
            return section
    raise ConfigError([Problem(path_text(loc), None, message) for loc, message in found])


def _validated(pruned: _Pruned, found: list[Finding]) -> Config | None:
    """The model of what is left once everything wrong has been taken out; None where that is nothing."""
    for _ in range(_ROUNDS):
        try:
            return Config.model_validate(pruned.build())
        except ValidationError as error:
            _judge(pruned, error.errors(include_url=False), found)
    return None


def _judge(pruned: _Pruned, errors: list[ErrorDetails], found: list[Finding]) -> None:
    """Reports one round of pydantic's errors and takes their places out.

    Unknown keys first: a slip of a key explains that the key is missing.
    """
    placed = [(details, pruned.origin(_place(details))) for details in errors]
    explained = {loc for _, loc in placed if pruned.explains(loc)}
    slips: set[Loc] = set()
    for details, loc in placed:
        if details["type"] == "extra_forbidden":
            close = get_close_matches(str(loc[-1]), _keys_at(loc[:-1]), 1, 0.6)
            found.append((loc, f"unknown key{f', did you mean {close[0]!r}?' if close else ''}"))
            slips.update((*loc[:-1], key) for key in close)
            pruned.take_out(loc, explains=(*loc[:-1], close[0]) if close else None)
    for details, loc in placed:
        kind = details["type"]
        if kind == "extra_forbidden":
            continue
        if loc not in explained and not (kind == "missing" and loc in slips):
            found.append((loc, _plain(details)))
        out = loc[:-1] if kind == "missing" else loc
        pruned.take_out(out, explains=out)


def _place(details: ErrorDetails) -> Loc:
    """Without the marks that the models put in for the forms of a value, and pydantic's for a key that is no name."""
    *around, last = details["loc"]
    place = tuple(part for part in around if part not in (TEXT, LIST, FORM))
    if details["type"] != "extra_forbidden" and last in (TEXT, LIST, FORM, "[key]"):
        return place
    return (*place, last)


_WORDS = {
    "missing": "is required",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be a text",
    "union_tag_not_found": "must be a text, a list, or one of prefix, suffix, contains, regex, present, not",
}


def _plain(details: ErrorDetails) -> str:
    """Pydantic's error in plain words."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        expected, given = str(context["expected"]), str(details["input"])
        choices = re.findall(r"'([^']*)'", expected)
        return f"must be {expected}{suggestion(given, choices) if given.isalpha() else ''}"
    if kind == "string_pattern_mismatch":
        if str(context["pattern"]) == NAME_PATTERN:
            return (
                f"{details['input']!r} is no name: at most 63 letters, digits, _, - and ., of which - and . not first"
            )
        return f"{details['input']!r} is no path: it begins with / and has no ?, # or space"
    if kind.startswith("date_"):
        return "must be a date, such as 2027-01-31"
    message = details["msg"].removeprefix("Input ").replace("should be", "must be")
    return _WORDS.get(kind, message[:1].lower() + message[1:])


class _Pruned:
    """A tree less the places that were taken out. Lists keep their items' own numbers, so that places can be told."""

    def __init__(self, tree: dict[str, object]) -> None:
        self._tree = tree
        self._out: set[Loc] = set()
        self._blamed: set[Loc] = set()
        self._around: set[Loc] = set()
        self._built: object = tree

    def take_out(self, loc: Loc, explains: Loc | None) -> None:
        """`explains` is the place whose absence may have consequences, if any."""
        self._out.add(loc)
        if explains is not None:
            self._blamed.add(explains)
            self._around.update(explains[:size] for size in range(len(explains)))

    def explains(self, loc: Loc) -> bool:
        """Whether a finding there may come from what was taken out above, at or below the place."""
        return loc in self._around or any(loc[:size] in self._blamed for size in range(len(loc) + 1))

    def origin(self, loc: Loc) -> Loc:
        """The place in the document of a place in what `build` gave; cut short where it leads into a scalar."""
        place: list[str | int] = []
        value = self._built
        for part in loc:
            if isinstance(value, _Items) and isinstance(part, int) and part < len(value):
                place.append(value.numbers[part])
                value = value[part]
            elif isinstance(value, dict):
                place.append(part)
                value = value.get(part)
            else:
                break
        return tuple(place)

    def build(self) -> dict[str, object]:
        """What is left, with the sections that must be there."""
        left = self._copy(self._tree, ())
        assert isinstance(left, dict)
        for section, empty in (("listen", _Items()), ("upstreams", {}), ("routes", {})):
            left.setdefault(section, empty)
        routes = left["routes"]
        for number, name in enumerate(routes if isinstance(routes, dict) else ()):
            # A route whose match is not understood must not look like another route's double.
            if any(out[:3] == ("routes", name, "match") for out in self._out) and isinstance(routes[name], dict):
                routes[name]["match"] = {"hosts": [f"{number}.invalid"]}
        self._built = left
        return left

    def _copy(self, value: object, loc: Loc) -> object:
        if isinstance(value, dict):
            return {
                key: self._copy(member, (*loc, key)) for key, member in value.items() if (*loc, key) not in self._out
            }
        if isinstance(value, list):
            items = _Items()
            for number, item in enumerate(value):
                if (*loc, number) not in self._out:
                    items.append(self._copy(item, (*loc, number)))
                    items.numbers.append(number)
            return items
        return value


class _Items(list[object]):
    """A list that knows the numbers its items had."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []


def _keys_at(loc: Loc) -> list[str]:
    """The keys that the document may have at a place; none where they are free, such as names of routes."""
    kinds: list[object] = [Config]
    for part in loc:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    return [
        field.alias or name for kind in kinds for model in _models(kind) for name, field in model.model_fields.items()
    ]


def _step(kind: object, part: str | int) -> list[object]:
    """What a type has under a key or number."""
    origin = get_origin(kind)
    if origin is dict:
        return [get_args(kind)[1]]
    if origin is tuple:
        return [get_args(kind)[0]]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.annotation for name, field in kind.model_fields.items() if part in (name, field.alias)]
    return [inner for argument in get_args(kind) for inner in _step(argument, part)]


def _models(kind: object) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (dict, tuple):
        return []
    return [model for argument in get_args(kind) for model in _models(argument)]
