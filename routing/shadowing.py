"""What a route copies to its shadow, and how the answers are compared: compiled, by names, so that it can be live state too."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_METHODS = frozenset({b"GET", b"HEAD"})
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""RFC 9110 section 9.2.1, less TRACE, which the gateway refuses. Sending one twice changes nothing."""


@dataclass(frozen=True, slots=True)
class Comparing:
    """How two answers are compared. Paths are JSONPaths as routing/json_path.py reads them.

    `headers` are the lower-case names compared; `ignore` paths, `header:name`, `status` or `body`; `unordered` lists whose
    order means nothing; `keyed` (path, field) lists whose elements are paired by that field; `number_tolerance` relative and
    absolute; `mask` regular expressions, what matches is not compared.
    """

    headers: tuple[str, ...] = ("content-type", "location", "cache-control")
    ignore: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    keyed: tuple[tuple[str, str], ...] = ()
    number_tolerance: float = 0.0
    mask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redacting:
    """What is never stored: values of these header fields (lower case), and at these JSONPaths."""

    headers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shadowing:
    """A route's shadow. `upstream` and `control` are names; `percent` is 0..100; `by_client` copies the same clients every
    time; `max_body` bounds request and answer each, in bytes; `timeout` is in seconds; `set_headers` and `remove_headers` act
    on the copy; `noise_sample` (0..1) is the share of compared requests sent to stable a second time where there is no
    control; `endpoints` are declared templates such as `/orders/{id}`; `since` is the revision at which the diffs were
    last started afresh; `salt` makes the sample of clients independent of their stickiness.
    """

    upstream: str
    control: str | None = None
    percent: float = 0.0
    by_client: bool = False
    methods: frozenset[bytes] = DEFAULT_METHODS
    max_body: int = 256 * 1024
    timeout: float = 10.0
    set_headers: tuple[tuple[bytes, bytes], ...] = ()
    remove_headers: frozenset[bytes] = frozenset({b"authorization", b"cookie"})
    noise_sample: float = 0.01
    endpoints: tuple[str, ...] = ()
    redacting: Redacting = field(default_factory=Redacting)
    comparing: Comparing = field(default_factory=Comparing)
    since: int = 0
    salt: int = 0
