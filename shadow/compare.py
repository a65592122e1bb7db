"""Two answers, or three, compared: status, chosen header fields, then the body from the cheapest question to the dearest.

1. An answer that is none, or another status, is the whole difference: the body of an error page is no news of its own.
2. Header fields by name, several lines of one joined.
3. Bodies with equal bytes are equal; so are those that decode to equal bytes.
4. JSON: equal if orjson writes both the same with sorted keys. What differs then is made ready by the route's rules
   (shadow/rules.py), and if it still differs walked down (shadow/walk.py), where deepdiff pairs what nothing else could.
5. Text by lines, other content by type, length and hash.

Each body is decoded and parsed once, whether it is compared with one other or with two.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import orjson

from routing.shadowing import Comparing, Redacting
from shadow.answer import NO_ANSWER, Answer
from shadow.content import Shape, decoded, media_type, shape_of, text_of
from shadow.found import MOST_FIELDS, EnoughError, Found
from shadow.profile import ABSENT, class_of, size_class
from shadow.redaction import redactor
from shadow.rules import Rules, canonical
from shadow.text import differing_lines
from shadow.verdict import Compared, Difference, Kind, Reason, UndecidedError
from shadow.walk import Walk


class Comparer:
    """Compiled once for a route's rules."""

    def __init__(self, comparing: Comparing, redacting: Redacting) -> None:
        self._rules = Rules(comparing)
        self._redactor = redactor(redacting)

    def compare(self, primary: Answer, shadow: Answer, third: Answer | None) -> Compared:
        """Never raises for anything that an answer may hold."""
        try:
            return self._compared(primary, shadow, third)
        except UndecidedError as undecided:
            return Compared(undecided.reason.value)
        except RecursionError:
            return Compared(Reason.TOO_DEEP.value)

    def _compared(self, primary: Answer, shadow: Answer, third: Answer | None) -> Compared:
        one, two = _Side("primary", primary, self._rules), _Side("shadow", shadow, self._rules)
        notes: list[str] = []
        by_shadow = self._differences(one, two, notes)
        if third is None:
            return Compared("", by_shadow.differences(), notes=_unique(notes, one, two))
        three = _Side("third", third, self._rules)
        by_third = self._differences(one, three, notes)
        between = by_shadow.fields() | by_third.fields()
        if by_shadow.fields() & by_third.fields() or (self._rules.tolerance and by_shadow.fields()):
            # Two that differ from the primary may be alike, and with a tolerance even what is alike may differ from a third.
            between = self._differences(two, three, notes).fields()
        return Compared(
            "", by_shadow.differences(), by_third.differences(), between, notes=_unique(notes, one, two, three)
        )

    def _differences(self, one: _Side, other: _Side, notes: list[str]) -> Found:
        found = Found(self._redactor)
        try:
            if self._status(one, other, found):
                self._headers(one, other, found)
                if not self._rules.ignore_body:
                    self._body(one, other, found)
        except EnoughError:
            notes.append(f"more than {MOST_FIELDS} fields differ; the rest were not looked at")
        return found

    def _status(self, one: _Side, other: _Side, found: Found) -> bool:
        """Whether the rest is to be compared."""
        if one.status == other.status and one.status != NO_ANSWER:
            return True
        answered = NO_ANSWER not in (one.status, other.status)
        if answered and self._rules.ignore_status:
            return True
        if one.status != other.status:
            kind = Kind.CHANGED if answered else Kind.NO_ANSWER
            found.put(_whole("status", kind, (one.outcome, other.outcome), (one.status_class, other.status_class)))
        return False

    def _headers(self, one: _Side, other: _Side, found: Found) -> None:
        for name in self._rules.headers:
            mine, yours = one.header(name), other.header(name)
            if mine == yours or (mine and yours and self._rules.masked(mine) == self._rules.masked(yours)):
                continue
            kind = Kind.EXTRA if mine is None else Kind.MISSING if yours is None else Kind.CHANGED
            shown = tuple("" if value is None else self._redactor.header(name, value) for value in (mine, yours))
            classes = tuple(class_of(ABSENT if value is None else value) for value in (mine, yours))
            found.put(_whole(f"header:{name}", kind, (shown[0], shown[1]), (classes[0], classes[1])))

    def _body(self, one: _Side, other: _Side, found: Found) -> None:
        if one.same_bytes(other) or one.body == other.body:
            return
        if one.shape is not other.shape:
            kind = Kind.EXTRA if not one.body else Kind.MISSING if not other.body else Kind.TYPE
            found.put(_whole("body", kind, (self._head(one), self._head(other)), (one.body_class, other.body_class)))
        elif one.shape is Shape.JSON:
            self._json(one, other, found)
        elif one.shape is Shape.TEXT:
            mine, yours = one.text, other.text
            if mine != yours:
                lines = differing_lines(mine, yours)
                shown = self._redactor.text(lines[0]), self._redactor.text(lines[1])
                found.put(_whole("body", Kind.TEXT, shown, (one.body_class, other.body_class)))
        else:
            found.put(_whole("body", Kind.BYTES, (one.described, other.described), (one.body_class, other.body_class)))

    def _json(self, one: _Side, other: _Side, found: Found) -> None:
        if one.canonical == other.canonical:
            return
        if self._rules.prepares:
            one.prepare()
            other.prepare()
            if one.canonical == other.canonical:
                return
        Walk(self._rules, found).documents(one.value, other.value)

    def _head(self, side: _Side) -> str:
        """A body of another shape than the other's, as it is shown."""
        match side.shape:
            case Shape.JSON:
                return self._redactor.value(side.value, ())
            case Shape.TEXT:
                return self._redactor.text(side.text)
        return side.described if side.body else ""


class _Side:
    """One answer. What costs something is found when it is first asked for, and then known."""

    def __init__(self, name: str, answer: Answer, rules: Rules) -> None:
        self.name = name
        self.status = NO_ANSWER if answer.failure else answer.status
        self.prepared = False
        self._answer = answer
        self._rules = rules
        self._fields: dict[str, list[str]] = {}
        for line in answer.lines:
            field, _, value = line.partition(b":")
            self._fields.setdefault(field.decode("latin-1").lower(), []).append(value.strip().decode("latin-1"))

    @property
    def outcome(self) -> str:
        return f"no answer: {self._answer.failure}" if self.status == NO_ANSWER else str(self.status)

    @property
    def status_class(self) -> str:
        return "no answer" if self.status == NO_ANSWER else str(self.status)

    def header(self, name: str) -> str | None:
        values = self._fields.get(name)
        return None if values is None else ", ".join(values)

    def same_bytes(self, other: _Side) -> bool:
        """As they were sent, without decoding."""
        coding = "content-encoding"
        return self._answer.body == other._answer.body and self._fields.get(coding) == other._fields.get(coding)

    @cached_property
    def body(self) -> bytes:
        return decoded(self._answer.body, self.header("content-encoding") or "")

    @cached_property
    def _shaped(self) -> tuple[Shape, Any, bool]:
        return shape_of(self.body, self.media)

    @property
    def media(self) -> str:
        return media_type(self.header("content-type") or "")

    @property
    def shape(self) -> Shape:
        return self._shaped[0]

    @property
    def value(self) -> Any:
        return self._shaped[1]

    @property
    def notes(self) -> list[str]:
        """Of a body that was looked into."""
        if "_shaped" in self.__dict__ and self._shaped[2]:
            return [f"{self.name} claims JSON and is not; compared as text"]
        return []

    @cached_property
    def canonical(self) -> bytes:
        try:
            return canonical(self.value)
        except orjson.JSONEncodeError as error:
            raise UndecidedError(Reason.TOO_DEEP) from error

    def prepare(self) -> None:
        if not self.prepared:
            self.prepared = True
            self._shaped = (self.shape, self._rules.prepared(self.value, self._rules.start), False)
            self.canonical = canonical(self.value)

    @cached_property
    def text(self) -> str:
        return self._rules.masked(text_of(self.body))

    @property
    def body_class(self) -> str:
        return "empty" if not self.body else f"{self.shape.value} {size_class(len(self.body))}"

    @property
    def described(self) -> str:
        digest = hashlib.sha256(self.body).hexdigest()[:16]
        return f"{self.media or 'no type'}, {len(self.body):,} bytes, SHA-256 {digest}…"


def _whole(field: str, kind: Kind, shown: tuple[str, str], classes: tuple[str, str]) -> Difference:
    return Difference(field, kind.value, *shown, *classes, None, None)


def _unique(notes: list[str], *sides: _Side) -> tuple[str, ...]:
    return tuple(dict.fromkeys([note for side in sides for note in side.notes] + notes))
