"""Who may call the admin API: what the document must say of an identity provider."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from routing.check import warnings
from routing.config import Config
from routing.document import ConfigError
from routing.load import load_text

OIDC = {"issuer": "https://login.example.com/", "audience": "headgate", "jwks": "keys.json", "roles": {"admin": "ops"}}


def load(oidc: dict[str, Any]) -> Config:
    document = {
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"oidc": oidc},
        "upstreams": {"blue": {"endpoints": ["http://127.0.0.1:9001"]}},
        "routes": {"shop": {"stable": "blue"}},
    }
    return load_text(json.dumps(document), {})


def test_one_value_stands_for_a_list_and_the_claims_have_defaults() -> None:
    oidc = load(OIDC).admin.oidc
    assert oidc is not None
    assert (oidc.audience, oidc.roles.admin, oidc.roles.viewer) == (("headgate",), ("ops",), ())
    assert (oidc.role_claim, oidc.name_claim) == ("roles", "sub")


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"issuer": ""}, "admin.oidc.issuer"),
        ({"issuer": None}, "admin.oidc.issuer"),
        ({"audience": []}, "admin.oidc.audience"),
        ({"audience": ["headgate", ""]}, "admin.oidc.audience"),
        ({"jwks": " "}, "admin.oidc.jwks"),
        ({"jwks": "ftp://login.example.com/keys"}, "admin.oidc.jwks"),
        ({"jwks": "https:///keys"}, "admin.oidc.jwks"),
        ({"jwks": "https://login.example.com:x/keys"}, "admin.oidc.jwks"),
        ({"role_claim": ""}, "admin.oidc.role_claim"),
        ({"roles": {}}, "admin.oidc.roles"),
        ({"roles": {"admin": [""]}}, "admin.oidc.roles"),
        ({"roles": {"admin": "ops", "root": "ops"}}, "admin.oidc.roles.root"),
        ({"secret": "x"}, "admin.oidc.secret"),
    ],
)
def test_a_mistake_is_told_by_its_place(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(OIDC | changed)
    assert [problem.path for problem in refused.value.problems] == [path]


@pytest.mark.parametrize(
    ("jwks", "warned"),
    [
        ("http://login.example.com/keys", True),
        ("http://10.0.0.7:8080/keys", True),
        ("http://127.0.0.1:8080/keys", False),
        ("http://localhost/keys", False),
        ("http://[::1]/keys", False),
        ("https://login.example.com/keys", False),
        ("/etc/headgate/keys.json", False),
    ],
)
def test_keys_that_come_unprotected_over_a_network_are_warned_about(jwks: str, warned: bool) -> None:
    found = warnings(load(OIDC | {"jwks": jwks}), date(2026, 12, 1))
    assert [problem.path for problem in found] == (["admin.oidc.jwks"] if warned else [])
