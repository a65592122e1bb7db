"""Text to tree: YAML 1.2 (so JSON too), with the line of every path, duplicates refused and `${NAME}` filled in.

Nodes are composed by ruamel.yaml and typed here by the core schema of YAML 1.2 (section 10.3.2), since that has to be
done for substituted texts anyway: `NO` is a country, `2027-01-31` and `10:30` are texts. Numbers keep how they were
written, because a header's `1.10` is not `1.1`. Text that is plain JSON skips YAML, which costs 100 times as much;
its lines are looked up only when something is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from routing.notation import Real, Whole

Loc = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAMED: dict[str, object] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
}
_NAMED |= {
    "false": False,
    "False": False,
    "FALSE": False,
    ".nan": float("nan"),
    ".NaN": float("nan"),
    ".NAN": float("nan"),
}
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_NODES = 500_000  # what aliases may expand to; a file of 1,000 routes has 40,000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong where: `path` in the document's own keys (empty for the whole), `line` from 1 where known."""

    path: str
    line: int | None
    message: str

    def __str__(self) -> str:
        if not self.path:
            return f"line {self.line}: {self.message}" if self.line else self.message
        return f"{self.path} (line {self.line}): {self.message}" if self.line else f"{self.path}: {self.message}"


class ConfigError(Exception):
    """A document that cannot be used, with every problem it has."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(map(str, self.problems)))


def path_text(loc: Loc) -> str:
    """`routes.shop.rules[1].send`; a key that has other characters is quoted: `geo.ranges["10.0.0.0/8"]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _BARE_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def suggestion(name: str, names: Collection[str]) -> str:
    """`, did you mean 'canary'?` or nothing."""
    close = get_close_matches(name, names, 1, 0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def typed(text: str) -> object:
    """A plain scalar's value by the core schema of YAML 1.2."""
    if text in _NAMED:
        return _NAMED[text]
    if _INT.fullmatch(text):
        return _whole(text)
    if _FLOAT.fullmatch(text):
        return _real(text)
    if match := _INFINITE.fullmatch(text):
        return float(f"{match[1]}inf")
    return text


def _whole(text: str) -> Whole:
    whole = Whole(int(text, 0) if text[:2] in ("0o", "0x") else int(text))
    whole.text = text
    return whole


def _real(text: str) -> Real:
    real = Real(text)
    real.text = text
    return real


@dataclass(slots=True)
class Document:
    """`broken` are the places whose value is not to be judged further, since it is known to be wrong; `filled` those that have it
    from the environment alone."""

    tree: object
    text: str = ""
    findings: list[tuple[Loc, str]] = field(default_factory=list)
    broken: set[Loc] = field(default_factory=set)
    filled: set[Loc] = field(default_factory=set)
    lines: dict[Loc, int] | None = None

    def line(self, loc: Loc) -> int | None:
        """The line of the place, or of the nearest place around it."""
        if self.lines is None:
            self.lines = _Reader({}).read(self.text).lines if self.text else {}
        assert self.lines is not None
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc) if loc else None

    def refuse(self, loc: Loc, message: str) -> None:
        self.findings.append((loc, message))
        self.broken.add(loc)

    def whole_text(self, text: str, loc: Loc) -> str | None:
        """None for what no answer, log or notification could repeat; that is a finding."""
        if text.isascii() or _SURROGATE.search(text) is None:
            return text
        self.refuse(loc, "has half of a surrogate pair, which is no character")
        return None

    def problem(self, loc: Loc, message: str) -> Problem:
        return Problem(path_text(loc), self.line(loc), message)


def read(text: str, environ: Mapping[str, str], source: str = "") -> Document:
    """Raises ConfigError where the text is no YAML at all; other findings are in the document."""
    if text.lstrip()[:1] == "{" and (tree := _json(text)) is not None:
        document = Document(tree, text)
        document.tree = _Substitution(environ, document).fill(tree, ())
        return document
    try:
        return _Reader(environ).read(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        message = " ".join(filter(None, (error.problem or str(error), error.context)))
        raise ConfigError([Problem("", line, f"not valid YAML: {message}")], source) from error
    except (YAMLError, RecursionError) as error:
        message = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise ConfigError([Problem("", None, f"not valid YAML: {message}")], source) from error


def of_tree(tree: object, environ: Mapping[str, str]) -> Document:
    """A document that came as JSON already parsed: it has no lines."""
    document = Document(tree)
    document.tree = _Substitution(environ, document).fill(tree, ())
    return document


def _json(text: str) -> object | None:
    """The tree of a JSON text without duplicate keys; None where YAML has to look at it."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError
        return members

    try:
        return json.loads(text, object_pairs_hook=unique, parse_int=_whole, parse_float=_real)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        return None


class _Substitution:
    """Fills `${NAME}` and `${NAME:-default}` in texts; `$${` is a literal `${`."""

    def __init__(self, environ: Mapping[str, str], document: Document) -> None:
        self._environ = environ
        self._document = document

    def fill(self, value: object, loc: Loc) -> object:
        if isinstance(value, dict):
            members = ((self._document.whole_text(str(key), loc), member) for key, member in value.items())
            return {name: self.fill(member, (*loc, name)) for name, member in members if name is not None}
        if isinstance(value, list):
            return [self.fill(item, (*loc, index)) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        return self.text(value, loc) if "${" in value else self._document.whole_text(value, loc)

    def text(self, text: str, loc: Loc) -> object:
        """The text with its variables; typed as YAML types it where it was nothing but one variable."""
        missing: list[str] = []
        whole = _VARIABLE.fullmatch(text)
        if whole is not None and self._environ.get(whole[1] or ""):
            self._document.filled.add(tuple(part for part in loc if part != "<<"))

        def replacement(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, has_default, default = match.groups()
            if name is None:
                missing.append("${ begins no variable such as ${NAME} or ${NAME:-default}; a literal ${ is written $${")
                return ""
            value = self._environ.get(name)
            if has_default and not value:
                return str(default)
            if value is None:
                missing.append(
                    f"the environment variable {name} is not set, and no default is given (${{{name}:-default}})"
                )
                return ""
            return value

        filled = _VARIABLE.sub(replacement, text)
        if missing:
            self._document.findings.extend((loc, message) for message in missing)
            self._document.broken.add(loc)
            return None
        if self._document.whole_text(filled, loc) is None:
            return None
        return typed(filled) if whole is not None and whole[1] else filled


class _Reader:
    """Builds a document from YAML nodes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._document = Document(None, lines={})
        self._substitution = _Substitution(environ, self._document)
        self._open: set[int] = set()
        self._nodes = 0

    def read(self, text: str) -> Document:
        node = YAML(typ="safe", pure=True).compose(text)
        self._document.text = text
        if node is not None:
            self._document.tree = self._value(node, ())
        return self._document

    def _refuse(self, loc: Loc, message: str) -> None:
        self._document.refuse(loc, message)

    def _value(self, node: Node, loc: Loc) -> object:
        assert self._document.lines is not None
        self._document.lines.setdefault(loc, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes == _MOST_NODES:
            self._refuse((), "the document is too large once its aliases are followed")
        if self._nodes >= _MOST_NODES:
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, loc)
        if id(node) in self._open:
            self._refuse(loc, "an alias that contains itself")
            return None
        if str(node.tag) not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._refuse(loc, f"the tag {node.tag} means nothing here")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self._value(item, (*loc, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._mapping(node, loc)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: ScalarNode, loc: Loc) -> object:
        tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if tag not in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value"):
            self._refuse(loc, f"the tag {node.tag} means nothing here")
            return None
        if "${" in text:
            return self._substitution.text(text, loc)
        if self._document.whole_text(text, loc) is None:
            return None
        return text if tag == "str" or node.style in ("'", '"', "|", ">") else typed(text)

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, object]:
        assert self._document.lines is not None
        members: dict[str, object] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._refuse(loc, f"a key that is no plain text (line {key.start_mark.line + 1})")
                continue
            if str(key.tag) == "tag:yaml.org,2002:merge":
                merged.extend(value.value if isinstance(value, SequenceNode) else [value])
                continue
            name = str(key.value)
            if self._document.whole_text(name, loc) is None:
                continue
            place = (*loc, name)
            line = key.start_mark.line + 1
            if name in members:
                first = self._document.lines[place]
                self._document.lines[place] = line
                self._document.findings.append((place, f"the key is there twice (first in line {first})"))
                continue
            self._document.lines[place] = line
            members[name] = self._value(value, place)
        for parent in merged:
            inherited = self._value(parent, (*loc, "<<"))
            if isinstance(inherited, dict):
                members = {**inherited, **members}
            else:
                self._refuse((*loc, "<<"), "only mappings can be merged")
        return members
