"""Mistakes in `listen`, each with its place."""

from __future__ import annotations

from typing import Any

import pytest

from routing.config_listen import redirect_port
from routing.document import ConfigError
from routing.load import load_tree

PAIR = {"certificate": "a.pem", "key": "a.key"}
TOP: dict[str, Any] = {"upstreams": {"blue": {"endpoints": ["http://a:1"]}}, "routes": {"shop": {"stable": "blue"}}}


def found(listener: dict[str, Any], **top: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_tree({**TOP, "listen": [{"address": ":8443", **listener}], **top})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("tls", "problems"),
    [
        ({}, ["listen[0].tls.certificate: is required", "listen[0].tls.key: is required"]),
        ({"certificate": "a.pem"}, ["listen[0].tls.key: is required"]),
        ({"certificates": []}, ["listen[0].tls.certificates: lists no certificate"]),
        (
            {**PAIR, "certificates": [PAIR]},
            [
                f"listen[0].tls.{key}: stands beside certificates: put it into the list, whose first is the default"
                for key in PAIR
            ],
        ),
        ({"certificates": [PAIR, {"certificate": "b.pem"}]}, ["listen[0].tls.certificates[1].key: is required"]),
        (
            {"certificates": [{**PAIR, "kye": "b"}]},
            ["listen[0].tls.certificates[0].kye: unknown key, did you mean 'key'?"],
        ),
        (
            {"certifcate": "a.pem", "key": "a.key"},
            ["listen[0].tls.certifcate: unknown key, did you mean 'certificate'?"],
        ),
        (
            {**PAIR, "client_certificate": "optional"},
            ["listen[0].tls.client_ca: is required, since client_certificate is optional"],
        ),
        (
            {**PAIR, "client_ca": "ca.pem", "client_certificate": "requird"},
            ["listen[0].tls.client_certificate: must be 'required' or 'optional', did you mean 'required'?"],
        ),
        ({**PAIR, "min_version": "1.1"}, ["listen[0].tls.min_version: must be '1.2' or '1.3'"]),
    ],
)
def test_mistake_in_tls_is_named_with_its_place(tls: dict[str, Any], problems: list[str]) -> None:
    assert found({"tls": tls}) == problems


@pytest.mark.parametrize(
    "value", ["http", "https:", "https:0", "https:65536", "https:x", "https:\u0668", "https://a", 8443]
)
def test_redirect_that_leads_nowhere_is_refused(value: object) -> None:
    assert found({"redirect": value}) == ["listen[0].redirect: must be https, or https:PORT"]


def test_redirect_of_a_listener_with_tls_is_refused() -> None:
    problem = "listen[0].redirect: leads from plain HTTP to HTTPS, and this listener has tls itself"
    assert found({"redirect": "https", "tls": PAIR}) == [problem]


@pytest.mark.parametrize(("redirect", "port"), [(None, 0), ("https", 443), ("https:8443", 8443)])
def test_redirect_leads_to_a_port(redirect: str | None, port: int) -> None:
    config = load_tree({**TOP, "listen": [{"address": ":8080", "redirect": redirect}]})
    assert redirect_port(config.listen[0].redirect) == port


def test_proxy_protocol_without_a_trusted_proxy_is_refused() -> None:
    problem = "listen[0].proxy_protocol: takes connections from trusted_proxies alone, and there are none"
    assert found({"proxy_protocol": True}) == [problem]
    config = load_tree({**TOP, "listen": [{"address": ":1", "proxy_protocol": True}], "trusted_proxies": ["10.0.0.1"]})
    assert config.listen[0].proxy_protocol


def test_both_forms_give_pairs() -> None:
    listen = [
        {"address": ":8443", "tls": PAIR},
        {"address": ":8444", "tls": {"certificates": [PAIR, {"certificate": "b.pem", "key": "b.key"}]}},
        {"address": ":8445", "tls": {"certificates": PAIR}},
    ]
    config = load_tree({**TOP, "listen": listen})
    pairs = [
        [(pair.certificate, pair.key) for pair in each.tls.pairs] for each in config.listen if each.tls is not None
    ]
    assert pairs == [[("a.pem", "a.key")], [("a.pem", "a.key"), ("b.pem", "b.key")], [("a.pem", "a.key")]]
