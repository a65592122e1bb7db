"""Who a client has proved to be by its certificate: as rules see it, and as upstreams are told.

The header is Envoy's `X-Forwarded-Client-Cert`. Whatever a certificate holds, its value has one reading and no line break: what
means something in it is escaped.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from routing.request import ClientCertificate

# RFC 4514 section 3; others stand under the name that the library gives them.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_SPECIAL = re.compile(r'[,+"\\<>;=]')  # RFC 4514 section 2.4
_OUTSIDE_ASCII = re.compile(r"[^\x20-\x7e]")
_MEANS_SOMETHING = re.compile(r'[^\x21-\x7e]|[,;"\\%]')  # in an unquoted value of the header


def identity_of(verified: dict[str, Any]) -> ClientCertificate:
    """Of a verified certificate as `ssl` describes it."""
    common = [value for names in verified.get("subject", ()) for key, value in names if key == "commonName"]
    names = tuple(value for kind, value in verified.get("subjectAltName", ()) if kind in ("DNS", "URI"))
    return ClientCertificate(common[-1] if common else "", names)


def forwarded_line(verified: dict[str, Any], der: bytes) -> bytes:
    """The header for upstreams: `X-Forwarded-Client-Cert: Hash=…;Subject="…";URI=…;DNS=…`."""
    parts = [f"Hash={hashlib.sha256(der).hexdigest()}", f'Subject="{distinguished_name(verified.get("subject", ()))}"']
    for wanted in ("URI", "DNS"):
        parts += [f"{kind}={_plain(value)}" for kind, value in verified.get("subjectAltName", ()) if kind == wanted]
    return f"X-Forwarded-Client-Cert: {';'.join(parts)}".encode("ascii")


def distinguished_name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """As RFC 4514 writes it, the most specific part first; ASCII, the rest as `\\C3\\A9`."""
    return ",".join(
        "+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in names) for names in subject[::-1]
    )


def _escaped(value: str) -> str:
    value = _SPECIAL.sub(lambda found: "\\" + found[0], value)
    if value[-1:] == " ":
        value = value[:-1] + "\\ "
    if value[:1] in (" ", "#"):
        value = "\\" + value
    return _OUTSIDE_ASCII.sub(lambda found: "".join(f"\\{byte:02X}" for byte in _bytes(found[0])), value)


def _plain(value: str) -> str:
    return _MEANS_SOMETHING.sub(lambda found: "".join(f"%{byte:02X}" for byte in _bytes(found[0])), value)


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")
