"""What is wrong with receivers of notifications whose single values are well-formed. Neither an address nor a secret is repeated:
both may come from the environment, and messages are read by anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from string import Formatter
from urllib.parse import urlsplit

from routing.config_notifications import EVENTS, Notification
from routing.document import Document, Loc, suggestion

Finding = tuple[Loc, str]

MOST = 32
PLACEHOLDERS = (
    "event",
    "route",
    "sentence",
    "reason",
    "who",
    "at",
    "node",
    "url",
    "revision",
    "state",
    "step",
    "steps",
    "weight",
    "verdict",
)


def notification_problems(targets: Sequence[Notification], routes: Collection[str]) -> Iterator[Finding]:
    """As (place in the list, message)."""
    if len(targets) > MOST:
        yield (), f"are {len(targets)}, of at most {MOST}"
    for index, target in enumerate(targets):
        if not _is_url(target.url):
            yield (index, "url"), "is not a URL like https://hooks.example.com/headgate"
        if not target.events:
            yield (index, "events"), "names no event"
        for number, event in enumerate(target.events):
            if event not in EVENTS:
                yield (index, "events", number), f"unknown event {event!r}{suggestion(event, EVENTS)}"
        if target.routes == ():
            yield (index, "routes"), "names no route: leave it out for all"
        for number, name in enumerate(target.routes or ()):
            if name not in routes:
                yield (index, "routes", number), f"unknown route {name!r}{suggestion(name, routes)}"
        if target.template is not None:
            for message in _template(target.template):
                yield (index, "template"), message


def secret_problems(document: Document) -> Iterator[Finding]:
    """Secrets that stand in the document itself, which viewers may read, or are nothing."""
    tree = document.tree
    targets = tree.get("notifications") if isinstance(tree, dict) else None
    for index, target in enumerate(targets if isinstance(targets, list) else ()):
        place = ("notifications", index, "secret")
        if not isinstance(target, dict) or "secret" not in target or place in document.broken:
            continue
        if target["secret"] in (None, ""):
            yield place, "is empty, so nothing would be signed"
        elif place not in document.filled:
            yield place, "stands in the document, which viewers may read: write ${NAME} and set that variable"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c <= " " for c in text)


def _template(text: str) -> Iterator[str]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        yield f"{error}: a literal brace is written twice, {{{{ or }}}}"
        return
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            known = suggestion(name, PLACEHOLDERS) or f"; there are {', '.join(PLACEHOLDERS)}"
            yield f"unknown placeholder {{{name}}}{known}"
        elif form or conversion:
            yield f"{{{name}}} takes no format"
