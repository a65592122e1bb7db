"""All that joserfc is asked for: keys, signatures, claims. Imported with the first token of an identity provider.

Only keys that others can't make signatures with are taken, and only their algorithms: no `none`, no HS256, no shared secrets, no
RSA under 2048 bits. A key verifies what its type, its curve and its own `alg` allow, whatever a token's header says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

__all__ = ["ClaimError", "ExpiredTokenError", "SigningKey", "check", "keys_of", "verified"]

_MOST = 100  # keys
_LEAST_RSA = 2048  # bits
_KINDS: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
# What an algorithm (RFC 7518, 8037, 9864) signs with: the key's type, and its curve.
ALGORITHMS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{f"{family}{bits}": ("RSA", ()) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", ("P-256",)),
    "ES384": ("EC", ("P-384",)),
    "ES512": ("EC", ("P-521",)),
    "EdDSA": ("OKP", ("Ed25519", "Ed448")),
    "Ed25519": ("OKP", ("Ed25519",)),
    "Ed448": ("OKP", ("Ed448",)),
}


class _Registry(JWSRegistry):
    """Takes the algorithms above, and header parameters that it does not know, unless they are said to be critical."""

    max_header_length = 8192  # some have whole certificates in it

    def __init__(self) -> None:
        super().__init__(strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of {name!r} is not taken")
        return self.algorithms[name]


_REGISTRY = _Registry()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`algorithm` is None where it is for each of its type."""

    kid: str | None
    kind: str
    curve: str
    algorithm: str | None
    key: Key

    def fits(self, algorithm: str) -> bool:
        kind, curves = ALGORITHMS.get(algorithm, ("", ()))
        return self.kind == kind and (not curves or self.curve in curves) and self.algorithm in (None, algorithm)


def keys_of(raw: bytes) -> tuple[SigningKey, ...]:
    """Those of a key set that signatures can be verified with. Raises ValueError."""
    try:
        document = json.loads(raw)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise ValueError(f"it is no JSON Web Key Set of up to {_MOST} keys")
    found = tuple(key for each in listed if isinstance(each, dict) and (key := _key(each)) is not None)
    if not found:
        raise ValueError("it has no key to verify signatures with")
    return found


def _key(jwk: dict[str, Any]) -> SigningKey | None:
    kind, kid, algorithm = jwk.get("kty"), jwk.get("kid"), jwk.get("alg")
    if not isinstance(kind, str) or kind not in _KINDS or jwk.get("use", "sig") != "sig":
        return None
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        return None
    try:
        key = _KINDS[kind].import_key(jwk)
        public = key.public_key
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):  # whatever was made of a member
        return None
    if kind == "RSA" and getattr(public, "key_size", 0) < _LEAST_RSA:
        return None
    return SigningKey(kid, kind, str(jwk.get("crv", "")), algorithm, key)


def verified(token: str, key: SigningKey) -> dict[str, Any]:
    """The claims of a token whose signature holds. Raises ValueError."""
    try:
        return jwt.decode(token, key.key, registry=_REGISTRY).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:  # a `crit` that is no list is a TypeError
        raise ValueError(str(error)) from error


def check(claims: dict[str, Any], issuer: str, audience: tuple[str, ...], now: int, leeway: int) -> None:
    """Raises ExpiredTokenError, ClaimError."""
    registry = jwt.JWTClaimsRegistry(
        now=now,
        leeway=leeway,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "values": list(audience)},
        exp={"essential": True},
    )
    registry.validate(claims)
