"""What is wrong with a listener whose single values are all well-formed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from routing.config_listen import Listen, ListenTls
from routing.document import Loc


def listen_findings(loc: Loc, listener: Listen, trusted: Collection[str]) -> Iterator[tuple[Loc, str]]:
    """`loc` is the listener's place, `trusted` are the proxies that are believed."""
    if listener.proxy_protocol and not trusted:
        yield (*loc, "proxy_protocol"), "takes connections from trusted_proxies alone, and there are none"
    if listener.tls is not None:
        yield from _tls((*loc, "tls"), listener.tls)
        if listener.redirect is not None:
            yield (*loc, "redirect"), "leads from plain HTTP to HTTPS, and this listener has tls itself"


def _tls(loc: Loc, tls: ListenTls) -> Iterator[tuple[Loc, str]]:
    if tls.client_certificate is not None and tls.client_ca is None:
        yield (*loc, "client_ca"), f"is required, since client_certificate is {tls.client_certificate}"
    if tls.certificates is None:
        for key in ("certificate", "key"):
            if getattr(tls, key) is None:
                yield (*loc, key), "is required"
    else:
        if not tls.certificates:
            yield (*loc, "certificates"), "lists no certificate"
        for key in ("certificate", "key"):
            if getattr(tls, key) is not None:
                yield (*loc, key), "stands beside certificates: put it into the list, whose first is the default"
