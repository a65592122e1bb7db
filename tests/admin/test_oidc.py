"""Tokens of an identity provider against a whole control plane: real keys, a real JWKS server, and what must not pass."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from admin.oidc import claim_of
from admin.throttle import FAILURES
from tests.admin.conftest import Answer, Plane, Start, edit
from tests.support.identity_provider import ISSUER, IdentityProvider, confused, ec, okp, part, rsa, signed

OIDC = """{{issuer: "{issuer}", audience: headgate, jwks: "{jwks}", role_claim: {role_claim}, name_claim: {name_claim},
    roles: {{viewer: [gw-read], operator: gw-ops, admin: [gw-admin]}}}}"""
CUTBACK = "/v1/routes/shop/cutback"


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider(ec("one"))
    await provider.start()
    yield provider
    await provider.stop()


def configure(config: Path, jwks: str, role_claim: str = "roles", name_claim: str = "sub") -> None:
    oidc = OIDC.format(issuer=ISSUER, jwks=jwks, role_claim=role_claim, name_claim=name_claim)
    edit(config, 'admin: {address: "127.0.0.1:0"}', f'admin: {{address: "127.0.0.1:0", oidc: {oidc}}}')


@pytest.fixture
async def plane(provider: IdentityProvider, config: Path, start: Start) -> Plane:
    configure(config, provider.url)
    return await start()


async def ask(plane: Plane, token: str, method: str = "GET", path: str = "/v1/status") -> Answer:
    return await plane.bare(method, path, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("make", "algorithm"), [(rsa, "RS256"), (rsa, "PS384"), (ec, "ES256"), (okp, "Ed25519"), (okp, "EdDSA")]
)
async def test_a_token_signed_by_the_provider_acts_under_its_name_and_role(
    plane: Plane, provider: IdentityProvider, make: Any, algorithm: str
) -> None:
    provider.keys = [ec("other"), key := make("mine")]
    token = provider.token(key, header={"alg": algorithm, "typ": "at+jwt", "x-of-ours": 1})
    assert (await ask(plane, token, "POST", CUTBACK)).status == 200
    entry = (await plane.call("GET", "/v1/audit")).json["entries"][0]
    assert (entry["who"], entry["action"]) == ("ann (oidc)", "cutback")
    assert (await ask(plane, token, "GET", "/v1/tokens")).status == 403


@pytest.mark.parametrize(
    ("values", "may"),
    [
        (["gw-read"], (200, 403, 403)),
        (["gw-ops", "gw-read"], (200, 200, 403)),
        (["else", "gw-admin"], (200, 200, 200)),
        ("openid gw-ops", (200, 200, 403)),
        (["nothing"], (403, 403, 403)),
        ([], (403, 403, 403)),
        ({"gw-admin": True}, (403, 403, 403)),
        ([["gw-admin"], 7], (403, 403, 403)),
        (None, (403, 403, 403)),
    ],
)
async def test_the_claim_says_the_role_the_highest_one(
    plane: Plane, provider: IdentityProvider, values: Any, may: tuple[int, int, int]
) -> None:
    token = provider.token(roles=values)
    calls = (("GET", "/v1/status"), ("POST", CUTBACK), ("GET", "/v1/tokens"))
    assert tuple([(await ask(plane, token, *call)).status for call in calls]) == may


@pytest.mark.parametrize(("verified", "status"), [(True, 200), (False, 403), ("false", 403)])
async def test_an_address_that_is_not_verified_gives_no_role(
    provider: IdentityProvider, config: Path, start: Start, verified: object, status: int
) -> None:
    configure(config, provider.url, role_claim="email")
    plane = await start()
    assert (await ask(plane, provider.token(email="gw-admin", email_verified=verified))).status == status


async def test_without_a_role_the_claim_that_was_looked_at_is_named_and_a_change_is_audited(
    plane: Plane, provider: IdentityProvider
) -> None:
    answer = await ask(plane, provider.token(roles=[]), "POST", CUTBACK)
    assert (answer.status, "claim 'roles'" in answer.json["detail"]) == (403, True)
    entry = (await plane.call("GET", "/v1/audit")).json["entries"][0]
    assert (entry["who"], entry["action"], entry["after"]["status"]) == ("ann (oidc)", "refused", 403)


NOBODY = "this call needs `Authorization: Bearer` with a token"
SECONDS = 600


def now(offset: int = 0) -> int:
    return int(time.time()) + offset


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": 1_700_000_000}, "the token expired on 2023-11-14T22:13:20.000Z"),
        ({"exp": None}, "the token lacks a claim"),
        ({"exp": "tomorrow"}, "the token lacks a claim"),
        ({"exp": 10**400}, ""),  # far away, and no reason to fail
        ({"aud": "else"}, "made for another audience"),
        ({"aud": ["else", "more"]}, "made for another audience"),
        ({"aud": None}, "made for another audience"),
        ({"iss": "https://evil.example.com/"}, "of another issuer"),
        ({"iss": ISSUER.rstrip("/")}, "of another issuer"),
        ({"iss": None}, "of another issuer"),
        ({"nbf": 9_000_000_000}, "not valid yet"),
        ({"sub": None}, "names nobody"),
        ({"sub": ""}, "names nobody"),
        ({"aud": ["else", "headgate"]}, ""),
    ],
)
async def test_a_signed_token_whose_claims_do_not_hold_is_told_which(
    plane: Plane, provider: IdentityProvider, claims: dict[str, Any], said: str
) -> None:
    answer = await ask(plane, provider.token(**claims))
    assert (answer.status, said in answer.text) == (401 if said else 200, True)


async def test_clocks_may_differ_by_a_minute(plane: Plane, provider: IdentityProvider) -> None:
    near = [provider.token(exp=now(-30)), provider.token(nbf=now(30), iat=now(30))]
    far = [provider.token(exp=now(-90)), provider.token(nbf=now(90)), provider.token(iat=now(90))]
    assert [(await ask(plane, token)).status for token in near + far] == [200, 200, 401, 401, 401]


def encoded(value: object) -> str:
    return part(json.dumps(value).encode())


async def test_a_forged_token_learns_no_more_than_one_that_is_not_known(
    plane: Plane, provider: IdentityProvider
) -> None:
    provider.keys = [rsa("one"), ec("two")]
    good = provider.token()
    header, claims, signature = good.split(".")
    admin = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"roles": ["gw-admin"]}
    forged = [
        confused(provider.keys[0], admin),
        f"{encoded({'alg': 'none', 'kid': 'one'})}.{encoded(admin)}.",
        f"{encoded({'alg': 'NONE', 'kid': 'one'})}.{encoded(admin)}.",
        f"{header}.{encoded(admin)}.{signature}",
        signed(rsa("one"), admin, {"alg": "RS256", "kid": "one"}),
        signed(ec("one"), admin, {"alg": "ES256", "kid": "one"}),
        signed(ec("unknown"), admin, {"alg": "ES256", "kid": "unknown"}),
    ]
    provider_header = {"jwk": provider.keys[1].as_dict(private=False)}
    forged.append(signed(ec("two"), admin, {"alg": "ES256", "kid": "two", **provider_header}))
    broken = [
        "a.b.c",
        "..",
        f"{header}.{claims}.",
        f"{encoded([])}.{claims}.{signature}",
        f"{encoded({'kid': 1})}.{claims}.x",
    ]
    answers = set()
    for token in forged + broken:
        plane.context.throttle = type(plane.context.throttle)()
        answer = await ask(plane, token)
        answers.add((answer.status, answer.json["detail"]))
    assert answers == {(401, NOBODY)}
    assert (await ask(plane, good)).status == 200


async def test_a_header_parameter_that_must_be_understood_and_is_not_refuses_the_token(
    plane: Plane, provider: IdentityProvider
) -> None:
    answer = await ask(plane, provider.token(header={"crit": ["of-ours"], "of-ours": 1}))
    assert answer.status == 401


@pytest.mark.parametrize(
    "header",
    [
        {"crit": 5}, {"crit": [[]]}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}, {"typ": 5}, {"zip": "DEF"},
        {"x5c": [1]}, {"jwk": 7}, {"alg": ["ES256"]}, {"alg": {}}, {"kid": ["one"]}, {"enc": "A128GCM"}, {"x": "y" * 9000},
    ],
)  # fmt: skip
async def test_a_header_of_any_shape_is_an_answer_and_no_failure(
    plane: Plane, provider: IdentityProvider, header: dict[str, Any]
) -> None:
    _, claims, signature = provider.token().split(".")
    whole = {"alg": "ES256", "kid": "one"} | header
    answer = await ask(plane, f"{encoded(whole)}.{claims}.{signature}")
    assert answer.status in (400, 401)  # 400: too long for a header field


async def test_a_token_may_list_many_groups(plane: Plane, provider: IdentityProvider) -> None:
    groups = [f"group-{number:04}" for number in range(1500)]
    token = provider.token(roles=[*groups, "gw-ops"])
    assert 16 * 1024 < len(token) < 32 * 1024
    assert (await ask(plane, token)).status == 200


async def test_a_rotated_key_holds_as_soon_as_a_token_names_it(plane: Plane, provider: IdentityProvider) -> None:
    now = 1000.0
    plane.context.provider.keys._clock = lambda: now
    old = provider.token()
    assert (await ask(plane, old)).status == 200
    provider.keys = [ec("two")]
    assert (await ask(plane, provider.token())).status == 401  # asked for less than 30 s ago
    now += 30.0
    assert (await ask(plane, provider.token())).status == 200
    assert (await ask(plane, old)).status == 401


async def test_while_the_provider_is_down_its_tokens_cannot_be_judged_and_ours_can(
    plane: Plane, provider: IdentityProvider
) -> None:
    await provider.stop()
    answer = await ask(plane, provider.token())
    assert (answer.status, answer.json["type"]) == (503, "urn:headgate:problem:unavailable")
    assert "Retry-After" in answer.headers
    assert (await plane.call("GET", "/v1/status")).status == 200
    assert "headgate_admin_oidc_key_failures_total 1.0" in (await plane.call("GET", "/metrics")).text


async def test_a_provider_that_goes_down_later_is_not_missed(plane: Plane, provider: IdentityProvider) -> None:
    assert (await ask(plane, provider.token())).status == 200
    await provider.stop()
    assert (await ask(plane, provider.token())).status == 200


async def test_forged_tokens_have_to_wait_and_good_and_expired_ones_do_not(
    plane: Plane, provider: IdentityProvider
) -> None:
    expired = provider.token(exp=now(-SECONDS))
    for _ in range(FAILURES + 1):
        assert (await ask(plane, expired)).status == 401
    for _ in range(FAILURES):
        assert (await ask(plane, provider.token(ec("one")))).status == 401
    assert (await ask(plane, provider.token(ec("one")))).status == 429
    assert (await ask(plane, provider.token())).status == 200
    assert (await ask(plane, expired)).status == 401


@pytest.mark.parametrize(
    ("claims", "who"),
    [
        ({"email": "ann@example.com", "email_verified": True}, "ann@example.com (oidc)"),
        ({"email": "ann@example.com"}, "ann@example.com (oidc)"),
        ({"email": "boss@example.com", "email_verified": False}, "ann (oidc)"),
        ({"email": "boss@example.com", "email_verified": "false"}, "ann (oidc)"),
        ({"email": None}, "ann (oidc)"),
        ({"email": ["x"]}, "ann (oidc)"),
        ({"email": "a\nb\u202e" + "c" * 300}, "a?b?" + "c" * 196 + " (oidc)"),
    ],
)
async def test_the_name_is_the_claim_or_else_the_subject(
    provider: IdentityProvider, config: Path, start: Start, claims: dict[str, Any], who: str
) -> None:
    configure(config, provider.url, role_claim="realm.roles", name_claim="email")
    plane = await start()
    token = provider.token(realm={"roles": ["gw-ops"]}, roles=None, **claims)
    assert (await ask(plane, token, "POST", CUTBACK)).status == 200
    assert (await plane.call("GET", "/v1/audit")).json["entries"][0]["who"] == who


async def test_keys_may_come_from_a_file(
    provider: IdentityProvider, config: Path, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "jwks.json"
    configure(config, str(path))
    plane = await start()
    assert (await ask(plane, provider.token())).status == 503
    path.write_text(json.dumps(provider.document()))
    assert (await ask(plane, provider.token())).status == 200
    assert provider.fetches == 0


async def test_without_oidc_a_jwt_is_a_token_that_is_not_known(provider: IdentityProvider, start: Start) -> None:
    plane = await start()
    assert (await ask(plane, provider.token())).status == 401
    assert provider.fetches == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", {"b": 1}), ("a.b", 1), ("https://example.com/roles", 2), ("a.c", None), ("a.b.c", None), ("x", None)],
)
def test_a_claim_is_found_by_its_name_or_by_its_path(name: str, value: object) -> None:
    assert claim_of({"a": {"b": 1}, "https://example.com/roles": 2}, name) == value
