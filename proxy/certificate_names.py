"""For which host names a certificate is: the DNS names of its subjectAltName (RFC 5280 section 4.2.1.6), read from its DER form.

The library reads names only of a peer's certificate that it has verified, so this walks the few levels down by itself.
"""

from __future__ import annotations

import ssl

_EXTENSIONS = 0xA3  # [3], RFC 5280 section 4.1
_OBJECT_IDENTIFIER = 0x06
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"  # 2.5.29.17
_DNS_NAME = 0x82  # [2]
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def names_of_pem(chain: str) -> tuple[str, ...]:
    """Of the first certificate of a chain, lower case, `*.` where it is for one label of any name. Raises ValueError where it
    can't be read."""
    start = chain.find(_BEGIN)
    end = chain.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("no certificate in PEM form")
    return names_of_der(ssl.PEM_cert_to_DER_cert(chain[start : end + len(_END)]))


def names_of_der(certificate: bytes) -> tuple[str, ...]:
    """The same, of a certificate in DER form."""
    try:
        signed = _within(_within(_within(certificate)[0][1])[0][1])
        extensions = next((_within(_within(value)[0][1]) for tag, value in signed if tag == _EXTENSIONS), [])
        for _, extension in extensions:
            parts = _within(extension)
            if parts[0] == (_OBJECT_IDENTIFIER, _SUBJECT_ALT_NAME):
                names = _within(_within(parts[-1][1])[0][1])
                return tuple(name.decode("ascii").lower() for tag, name in names if tag == _DNS_NAME)
    except IndexError as error:
        raise ValueError("a certificate that is cut short") from error
    return ()


def _within(der: bytes) -> list[tuple[int, bytes]]:
    """The elements that stand one after another, as (tag, content). Raises IndexError where one ends too early."""
    found = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise IndexError
        found.append((tag, der[at : at + length]))
        at += length
    return found
