"""An identity provider: keys of its own making, served over real HTTP, and tokens signed with them."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import Any

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ISSUER = "https://login.example.com/"
AUDIENCE = "headgate"


class _Any(jws.JWSRegistry):
    """Signs with whatever a test asks for."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        pass


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(key: Any, claims: dict[str, Any], header: dict[str, Any]) -> str:
    return jws.serialize_compact(header, json.dumps(claims), key, registry=_Any())


def confused(key: RSAKey, claims: dict[str, Any]) -> str:
    """Signed with HS256 and the public key as the secret: what a verifier that believes the header would compare with."""
    text = f"{part(json.dumps({'alg': 'HS256', 'kid': key.get('kid')}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{text}.{part(hmac.digest(key.as_pem(private=False), text.encode(), 'sha256'))}"


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


def ec(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid})


def okp(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid})


class IdentityProvider:
    """`keys` are those it publishes; `fetches` counts how often it was asked; while `held` is clear no answer comes."""

    def __init__(self, *keys: Key) -> None:
        self.keys: list[Any] = list(keys)
        self.fetches = 0
        self.status = 200
        self.body: bytes | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""
        self._port = 0
        self._runner: web.AppRunner | None = None

    def document(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    async def start(self) -> None:
        """At the same port again after a stop."""
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/jwks"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        await self.held.wait()
        if self.body is not None:
            return web.Response(status=self.status, body=self.body)
        return web.json_response(self.document(), status=self.status)

    def token(self, key: Any = None, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Valid unless said otherwise; a claim of None is left out."""
        key = key or self.keys[0]
        algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}[key.key_type]
        kid = {"kid": key.get("kid")} if key.get("kid") else {}
        now = int(time.time())
        all_claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": now + 600,
            "iat": now,
            "roles": ["gw-ops"],
        } | claims
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return signed(key, kept, {"alg": algorithm, **kid} | (header or {}))
