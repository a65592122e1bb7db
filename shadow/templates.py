"""Endpoints: `/orders/17` and `/orders/18` are one, `/orders/{id}`. Declared templates win; the rest is learned from traffic.

Rules. A segment that looks like an id (path_words.py) is `{id}`. The others are words of a tree; where more than MOST_WORDS
different ones stand below the same parent, they are ids as well, apart from those that carry a fair share of the traffic: a flood
of unknown paths must not make one endpoint of all that exist. Endpoints that fall together by this are told in `take_moved`.

All is bounded: endpoints by `most` (what comes later is OTHER_ENDPOINT), words below a parent, nodes, segments, and the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from shadow.path_words import ID, segments_of

OTHER_ENDPOINT = "other"
MOST_WORDS = 32
MOST_NODES = 4096
_MOST_METHODS = 16
_CACHED = 2048
_LONGEST_CACHED = 256

# A word that is kept where the others below its parent become `{id}`: its share of the requests there, and how many.
_FAIR_SHARE = 0.05
_FAIR_COUNT = 32


class _Node:
    """One word of a path. `name` is the endpoint that ends here, empty where none has; `words` lead on."""

    __slots__ = ("collapsed", "hits", "name", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.collapsed = False
        self.hits = 0
        self.name = ""

    def total(self) -> int:
        return self.hits + sum(node.total() for node in self.words.values())

    def below(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Node]]:
        """Itself and all nodes beneath, with the words that lead there."""
        yield path, self
        for word, node in self.words.items():
            yield from node.below((*path, word))


class Templates:
    """`moved` says whether `take_moved` has anything."""

    def __init__(self, declared: Sequence[str] = (), most: int = 64) -> None:
        self.most = most
        self.moved: list[tuple[str, str]] = []
        self._roots: dict[str, _Node] = {}
        self._names: set[str] = set()
        self._nodes = 0
        self._cache: dict[bytes, _Node] = {}
        self._other = _Node()
        self._other.name = OTHER_ENDPOINT
        self._declared: list[tuple[re.Pattern[str], str]] = []
        self._declared_nodes: dict[str, _Node] = {}
        self.declare(declared)

    def declare(self, declared: Sequence[str]) -> None:
        """`{name}` in a template stands for anything but a slash."""
        self._declared = [(_pattern(template), template) for template in declared]
        self._cache.clear()

    def endpoint(self, method: bytes, path: bytes) -> str:
        """`/orders/{id}` for GET and HEAD, `POST /orders` for the others. `path` has no query; any bytes will do."""
        key = path if method in (b"GET", b"HEAD") else method + b" " + path
        node = self._cache.get(key)
        if node is None:
            node = self._find("" if key is path else method.decode("latin-1") + " ", path)
            if len(key) <= _LONGEST_CACHED:
                if len(self._cache) >= _CACHED:
                    self._cache.clear()
                self._cache[key] = node
        node.hits += 1
        return node.name

    def take_moved(self) -> list[tuple[str, str]]:
        """Endpoints that are now another: (before, after) each."""
        moved, self.moved = self.moved, []
        return moved

    def _find(self, method: str, path: bytes) -> _Node:
        if not path.startswith(b"/"):
            return self._other
        if self._declared:
            text = path.decode("latin-1")
            for pattern, template in self._declared:
                if pattern.fullmatch(text):
                    return self._of_declared(method + template)
        words = segments_of(path)
        if self._nodes + len(words) + 1 > MOST_NODES:
            self._prune()
        while True:
            node = self._walk(method, words)
            if node is not None:
                return node

    def _of_declared(self, name: str) -> _Node:
        node = self._declared_nodes.get(name)
        if node is None:
            if len(self._declared_nodes) >= self.most:
                return self._other
            node = self._declared_nodes[name] = _Node()
            node.name = name
        return node

    def _walk(self, method: str, words: tuple[str, ...]) -> _Node | None:
        """None where the tree was changed on the way, so that the walk begins anew."""
        node = self._roots.get(method)
        if node is None:
            if len(self._roots) >= _MOST_METHODS:
                return self._other
            node = self._roots[method] = _Node()
        way: tuple[str, ...] = ()
        for word in words:
            if node.collapsed and word not in node.words:
                word = ID
            child = node.words.get(word)
            if child is None:
                if word != ID and not node.collapsed and len(node.words) - (ID in node.words) >= MOST_WORDS:
                    self._collapse(method, way, node)
                    return None
                child = node.words[word] = _Node()
                self._nodes += 1
            node, way = child, (*way, word)
        if node.name in ("", OTHER_ENDPOINT):
            self._admit(node, method + "/" + "/".join(way))
        return node

    def _admit(self, node: _Node, name: str) -> None:
        if len(self._names) < self.most - len(self._declared) or name in self._names:
            node.name = name
            self._names.add(name)
        else:
            node.name = OTHER_ENDPOINT

    # Learning

    def _collapse(self, method: str, parent: tuple[str, ...], node: _Node) -> None:
        """Too many words below a parent: those without a share of their own become `{id}`, with all beneath them."""
        before = [(below, below.name) for _, below in node.below() if below.name not in ("", OTHER_ENDPOINT)]
        became: dict[_Node, _Node] = {}
        self._fuse_words(node, became)
        self._nodes = sum(1 for root in self._roots.values() for _ in root.below())
        paths = {below: path for path, below in node.below()}
        self._names -= {name for _, name in before}
        for below, name in before:
            while below in became:
                below = became[below]
            after = method + "/" + "/".join((*parent, *paths[below]))
            below.name = after
            self._names.add(after)
            if after != name:
                self.moved.append((name, after))
        self._cache.clear()

    def _fuse_words(self, node: _Node, became: dict[_Node, _Node]) -> None:
        hits = {word: child.total() for word, child in node.words.items() if word != ID}
        least = max(_FAIR_COUNT, _FAIR_SHARE * sum(hits.values()))
        node.collapsed = True
        target = node.words.setdefault(ID, _Node())
        for word, count in hits.items():
            if count < least:
                self._fuse(target, node.words.pop(word), became)

    def _fuse(self, into: _Node, node: _Node, became: dict[_Node, _Node]) -> None:
        became[node] = into
        into.hits += node.hits
        into.name = into.name or node.name
        for word, child in node.words.items():
            below = ID if into.collapsed and word not in into.words else word
            known = into.words.get(below)
            if known is None:
                into.words[below] = child
            else:
                self._fuse(known, child, became)
        if not into.collapsed and (node.collapsed or len(into.words) > MOST_WORDS):
            self._fuse_words(into, became)

    def _prune(self) -> None:
        """Forget words that lead to no endpoint; they were only counted."""
        for root in self._roots.values():
            _prune(root)
        self._nodes = sum(1 for root in self._roots.values() for _ in root.below())
        self._cache.clear()

    # Restarts

    def to_json(self) -> dict[str, Any]:
        nodes = [(method, path, node) for method, root in self._roots.items() for path, node in root.below()]
        return {
            "endpoints": [
                [method, path, node.hits] for method, path, node in nodes if node.name not in ("", OTHER_ENDPOINT)
            ],
            "collapsed": [[method, path] for method, path, node in nodes if node.collapsed],
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `to_json` gave; declared templates are as they are declared now."""
        self._roots, self._names, self._nodes = {}, set(), 0
        self._cache.clear()
        self.moved.clear()
        for method, path in kept["collapsed"]:
            self._at(method, path).collapsed = True
        for method, path, hits in kept["endpoints"]:
            node = self._at(method, path)
            node.hits = hits
            self._admit(node, method + "/" + "/".join(path))

    def _at(self, method: str, path: Sequence[str]) -> _Node:
        node = self._roots.setdefault(method, _Node())
        for word in path:
            node = node.words.setdefault(word, _Node())
        self._nodes += len(path)
        return node


def _prune(node: _Node) -> bool:
    """Whether nothing of it is left."""
    node.words = {word: child for word, child in node.words.items() if not _prune(child)}
    return not node.words and node.name in ("", OTHER_ENDPOINT)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("/".join(map(_segment, template.split("/"))), re.DOTALL)


def _segment(text: str) -> str:
    """From the first brace to the last anything may stand, so that no path makes a match slow."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return re.escape(text)
    return re.escape(text[:start]) + "[^/]+" + re.escape(text[end + 1 :])
