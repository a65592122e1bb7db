"""Which 64-bit bucket a client is in. The bucket is kept, never the upstream: new weights and cutback hold at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from hmac import compare_digest

from xxhash import xxh3_64_intdigest

from routing.request import Request


class StickyBy(Enum):
    COOKIE = "cookie"
    HEADER = "header"
    CLIENT_IP = "client_ip"


@dataclass(frozen=True, slots=True)
class Sticky:
    """`name` is the cookie's or the lower-case header's name (empty for the client's address); `max_age` is in
    seconds.
    """

    by: StickyBy
    name: bytes
    max_age: int
    secret: bytes

    def bucket(self, request: Request) -> int | None:
        """The bucket of the client, or None where it brought no (or no valid) mark."""
        if self.by is StickyBy.COOKIE:
            value = request.cookie(self.name)
            return None if value is None else self.verify(value)
        if self.by is StickyBy.HEADER:
            value = request.fields.get(self.name)
            return None if not value else xxh3_64_intdigest(value)
        return xxh3_64_intdigest(request.client_ip.encode()) if request.client_ip else None

    def sign(self, bucket: int) -> bytes:
        """The cookie's value: 16 hexadecimal digits of bucket and 16 of signature, so that clients can't choose."""
        text = bucket.to_bytes(8, "big").hex().encode()
        return text + self._signature(text)

    def verify(self, value: bytes) -> int | None:
        """The bucket in a cookie's value; None where the signature is not ours."""
        text = value[:16]
        return int(text, 16) if compare_digest(self._signature(text), value[16:]) else None

    def _signature(self, text: bytes) -> bytes:
        """BLAKE2b with the secret in front: unlike older hashes it can't be extended, so a prefix is as good as its keyed
        mode (RFC 7693; "BLAKE2: simpler, smaller, fast as MD5" section 2.9) at half the compressions."""
        return blake2b(self.secret + text, digest_size=8).hexdigest().encode()
