"""Mistakes in how the admin API can be reached, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from routing.config_admin import Admin, Oidc
from routing.document import Loc
from routing.notation import Address

Finding = tuple[Loc, str]


def admin_findings(admin: Admin) -> Iterator[Finding]:
    if not admin.address.loopback and admin.tls is None and not admin.insecure:
        remedy = "give it tls, a loopback address, or insecure: true"
        yield ("admin",), f"{admin.address} can be reached from other machines: {remedy}"
    if admin.oidc is not None:
        for loc, message in _oidc(admin.oidc):
            yield ("admin", "oidc", *loc), message


def _oidc(oidc: Oidc) -> Iterator[Finding]:
    for key in ("issuer", "jwks", "role_claim", "name_claim"):
        if not getattr(oidc, key).strip():
            yield (key,), "is empty"
    if not oidc.audience or not all(oidc.audience):
        yield ("audience",), "names nobody: a token of the issuer that was made for anybody would do"
    if "://" in oidc.jwks:
        try:
            parts = urlsplit(oidc.jwks)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            yield ("jwks",), "must be an http:// or https:// address, or a file"
    values = (*oidc.roles.viewer, *oidc.roles.operator, *oidc.roles.admin)
    if not values:
        yield ("roles",), "gives nobody a role"
    elif not all(values):
        yield ("roles",), "has an empty value"


def admin_warnings(admin: Admin) -> Iterator[Finding]:
    if admin.oidc is None or not admin.oidc.jwks.startswith("http://"):
        return
    host = urlsplit(admin.oidc.jwks).hostname or ""
    if not Address(host, 0).loopback:
        why = "is fetched without TLS: whoever can alter it on its way may call the admin API as anybody"
        yield ("admin", "oidc", "jwks"), why
