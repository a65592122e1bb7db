"""What a rule's `when` compiles to: conditions that hold for a request, made of tests that accept a value.

Plain slotted objects rather than closures, since a snapshot is pickled to the workers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from routing.addresses import Networks
from routing.request import Request


class Test(Protocol):
    """Accepts or refuses one value; None is an absent value."""

    def accepts(self, value: bytes | None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Exact:
    """Equal to one of the values."""

    values: frozenset[bytes]

    def accepts(self, value: bytes | None) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Prefix:
    prefix: bytes

    def accepts(self, value: bytes | None) -> bool:
        return value is not None and value.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Suffix:
    suffix: bytes

    def accepts(self, value: bytes | None) -> bool:
        return value is not None and value.endswith(self.suffix)


@dataclass(frozen=True, slots=True)
class Contains:
    part: bytes

    def accepts(self, value: bytes | None) -> bool:
        return value is not None and self.part in value


@dataclass(frozen=True, slots=True)
class Regex:
    """Found anywhere in the value, as `grep` does: anchor with ^ and $ for the whole."""

    pattern: re.Pattern[bytes]

    def accepts(self, value: bytes | None) -> bool:
        return value is not None and self.pattern.search(value) is not None


@dataclass(frozen=True, slots=True)
class Present:
    wanted: bool

    def accepts(self, value: bytes | None) -> bool:
        return (value is not None) is self.wanted


@dataclass(frozen=True, slots=True)
class Not:
    """Refuses what `test` accepts; so an absent value passes `not: x`."""

    test: Test

    def accepts(self, value: bytes | None) -> bool:
        return not self.test.accepts(value)


@dataclass(frozen=True, slots=True)
class AllOf:
    tests: tuple[Test, ...]

    def accepts(self, value: bytes | None) -> bool:
        return all(test.accepts(value) for test in self.tests)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The opposite of `AllOf`; several exact values alone are an `Exact`, which is cheaper."""

    tests: tuple[Test, ...]

    def accepts(self, value: bytes | None) -> bool:
        return any(test.accepts(value) for test in self.tests)


class Condition(Protocol):
    """One key of a `when`. `label` names it as the configuration does, such as `header x-canary`."""

    @property
    def label(self) -> str: ...

    def holds(self, request: Request) -> bool: ...

    def actual(self, request: Request) -> str:
        """What the request has there, for `explain`."""
        ...


def _shown(value: bytes | None) -> str:
    return "absent" if value is None else repr(value.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class HeaderCondition:
    """`name` is lower case and part of `Snapshot.wanted`."""

    name: bytes
    test: Test

    @property
    def label(self) -> str:
        return f"header {self.name.decode('latin-1')}"

    def holds(self, request: Request) -> bool:
        return self.test.accepts(request.fields.get(self.name))

    def actual(self, request: Request) -> str:
        return _shown(request.fields.get(self.name))


@dataclass(frozen=True, slots=True)
class CookieCondition:
    name: bytes
    test: Test

    @property
    def label(self) -> str:
        return f"cookie {self.name.decode('latin-1')}"

    def holds(self, request: Request) -> bool:
        return self.test.accepts(request.cookie(self.name))

    def actual(self, request: Request) -> str:
        return _shown(request.cookie(self.name))


@dataclass(frozen=True, slots=True)
class QueryCondition:
    """Holds where any value of the parameter passes; an absent parameter is judged as None."""

    name: bytes
    test: Test

    @property
    def label(self) -> str:
        return f"query {self.name.decode('utf-8', 'replace')}"

    def _values(self, request: Request) -> list[bytes]:
        found = []
        for pair in request.query.split(b"&") if request.query else ():
            key, _, value = pair.partition(b"=")
            if unquote_to_bytes(key.replace(b"+", b" ")) == self.name:
                found.append(unquote_to_bytes(value.replace(b"+", b" ")))
        return found

    def holds(self, request: Request) -> bool:
        values = self._values(request)
        return any(map(self.test.accepts, values)) if values else self.test.accepts(None)

    def actual(self, request: Request) -> str:
        values = self._values(request)
        return ", ".join(map(_shown, values)) if values else _shown(None)


@dataclass(frozen=True, slots=True)
class MethodCondition:
    test: Test
    label: str = "method"

    def holds(self, request: Request) -> bool:
        return self.test.accepts(request.method)

    def actual(self, request: Request) -> str:
        return _shown(request.method)


@dataclass(frozen=True, slots=True)
class PathCondition:
    test: Test
    label: str = "path"

    def holds(self, request: Request) -> bool:
        return self.test.accepts(request.path)

    def actual(self, request: Request) -> str:
        return _shown(request.path)


@dataclass(frozen=True, slots=True)
class ClientIpCondition:
    networks: Networks
    negated: bool = False
    label: str = "client_ip"

    def holds(self, request: Request) -> bool:
        return self.networks.contain(request.client_ip) is not self.negated

    def actual(self, request: Request) -> str:
        return request.client_ip or "unknown"


@dataclass(frozen=True, slots=True)
class ClientCertificateCondition:
    """`attribute` is `subject`, or `san`, which holds where any of the names passes. A client that has proved nothing is judged as
    None."""

    attribute: str
    test: Test

    @property
    def label(self) -> str:
        return f"client_certificate {self.attribute}"

    def _values(self, request: Request) -> list[bytes]:
        certificate = request.certificate
        if certificate is None:
            return []
        names = certificate.names if self.attribute == "san" else (certificate.subject,)
        return [name.encode() for name in names if name]

    def holds(self, request: Request) -> bool:
        values = self._values(request)
        return any(map(self.test.accepts, values)) if values else self.test.accepts(None)

    def actual(self, request: Request) -> str:
        values = self._values(request)
        return ", ".join(map(_shown, values)) if values else _shown(None)


@dataclass(frozen=True, slots=True)
class GeoCondition:
    """One attribute of the client's place. `attribute` is a field of `Place`; an unknown place is an absent value."""

    attribute: str
    test: Test

    @property
    def label(self) -> str:
        return f"geo {self.attribute}"

    def _value(self, request: Request) -> bytes | None:
        value = getattr(request.place, self.attribute)
        return str(value).encode() if value else None

    def holds(self, request: Request) -> bool:
        return self.test.accepts(self._value(request))

    def actual(self, request: Request) -> str:
        return _shown(self._value(request))
