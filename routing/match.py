"""Which route a request belongs to, at a cost that does not grow with the number of routes.

Hosts: exact, then the longest wildcard, then routes for any host. Within a host's paths: exact, then regular
expressions in the order of the file, then the longest prefix. Methods are looked at last: a route that does not take
the method is passed over. Where a host's own paths have no match, the less specific hosts are tried.

A prefix matches whole path segments: `/api` takes `/api` and `/api/x`, not `/apiary`; `/api/` takes only what is
below it. Hosts are dictionaries. Prefixes are one too, asked once or twice for each slash of the request's path, so
the cost depends on the path and not on the number of routes. Only regular expressions are tried one after another,
within their host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NO_ROUTE = -1


@dataclass(frozen=True, slots=True)
class Match:
    """What one route takes. Exactly one of `path`, `prefix`, `regex` is set; empty `hosts` is any host, `methods`
    None any method.

    A host that begins with `*.` is a wildcard: it takes every name below, at any depth, not the name itself.
    """

    hosts: tuple[bytes, ...]
    methods: frozenset[bytes] | None
    path: bytes | None = None
    prefix: bytes | None = None
    regex: re.Pattern[bytes] | None = None


_Candidates = tuple[tuple[frozenset[bytes] | None, int], ...]


class PathTable:
    """The paths of one host. Candidates of one path: those with methods first, else in the order of the file."""

    __slots__ = ("_exact", "_longest", "_prefixes", "_regexes")

    def __init__(self, matches: Iterable[tuple[int, Match]]) -> None:
        exact: dict[bytes, list[tuple[frozenset[bytes] | None, int]]] = {}
        prefixes: dict[bytes, list[tuple[frozenset[bytes] | None, int]]] = {}
        regexes: list[tuple[re.Pattern[bytes], frozenset[bytes] | None, int]] = []
        for index, match in matches:
            if match.path is not None:
                exact.setdefault(match.path, []).append((match.methods, index))
            elif match.regex is not None:
                regexes.append((match.regex, match.methods, index))
            else:
                assert match.prefix is not None
                prefixes.setdefault(match.prefix, []).append((match.methods, index))

        def ordered(candidates: list[tuple[frozenset[bytes] | None, int]]) -> _Candidates:
            return tuple(sorted(candidates, key=lambda c: (c[0] is None, c[1])))

        self._exact: dict[bytes, _Candidates] = {path: ordered(c) for path, c in exact.items()}
        self._prefixes: dict[bytes, _Candidates] = {path: ordered(c) for path, c in prefixes.items()}
        self._regexes = tuple(regexes)
        self._longest = max(map(len, prefixes), default=0)

    def find(self, method: bytes, path: bytes) -> int:
        """The index of the route, or NO_ROUTE."""
        if self._exact:
            for methods, index in self._exact.get(path, ()):
                if methods is None or method in methods:
                    return index
        for regex, methods, index in self._regexes:
            if (methods is None or method in methods) and regex.search(path):
                return index
        return self._find_prefix(method, path) if self._prefixes else NO_ROUTE

    def _find_prefix(self, method: bytes, path: bytes) -> int:
        """The longest prefix first: the whole path, then for each slash from the right what ends with it or before
        it.
        """
        prefixes, end = self._prefixes, self._longest
        if len(path) <= end:
            end = len(path)
            for methods, index in prefixes.get(path, ()):
                if methods is None or method in methods:
                    return index
        slash = path.rfind(b"/", 0, end + 1)
        while slash >= 0:
            for size in (slash + 1, slash):
                for methods, index in prefixes.get(path[:size], ()):
                    if methods is None or method in methods:
                        return index
            slash = path.rfind(b"/", 0, slash)
        return NO_ROUTE


class MatchTable:
    """All routes' matches, by host."""

    __slots__ = ("_any", "_exact", "_matches", "_wildcards")

    def __init__(self, matches: tuple[Match, ...]) -> None:
        self._matches = matches
        by_host: dict[bytes, list[tuple[int, Match]]] = {}
        for index, match in enumerate(matches):
            for host in match.hosts or (b"",):
                by_host.setdefault(host, []).append((index, match))
        self._any = PathTable(by_host.pop(b"", ()))
        self._wildcards = {host[1:]: PathTable(m) for host, m in by_host.items() if host.startswith(b"*.")}
        self._exact = {host: PathTable(m) for host, m in by_host.items() if not host.startswith(b"*.")}

    def __reduce__(self) -> tuple[type[MatchTable], tuple[tuple[Match, ...]]]:
        return MatchTable, (self._matches,)  # made anew from the matches, in half the bytes

    def find(self, method: bytes, host: bytes, path: bytes) -> int:
        """The index of the route, or NO_ROUTE. `host` is lower case without port, `path` without query."""
        if self._exact:
            table = self._exact.get(host)
            if table is not None:
                index = table.find(method, path)
                if index >= 0:
                    return index
        if self._wildcards:
            dot = host.find(b".", 1)
            while dot > 0:
                table = self._wildcards.get(host[dot:])
                if table is not None:
                    index = table.find(method, path)
                    if index >= 0:
                        return index
                dot = host.find(b".", dot + 1)
        return self._any.find(method, path)
