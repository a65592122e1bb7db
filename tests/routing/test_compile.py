"""Document -> snapshot, and the warnings that go with a document that is accepted."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from routing.check import problems, warnings, weight_problems
from routing.compile import compile_snapshot
from routing.config import Config
from routing.decide import Reason, decide
from routing.document import ConfigError
from routing.geo import GeoSource
from routing.load import load_text, load_tree
from routing.request import Place
from routing.snapshot import MOST_BREAKERS, AccessLog, HostPolicy, Limits, RetryOn, Timeouts, UpstreamTls
from routing.sticky import StickyBy
from routing.weights import Draws
from tests.routing.samples import SAMPLE, SECRET, document, get, snapshot, snapshot_of

DRAWS = Draws()


def test_sample_of_the_contract_compiles_to_what_it_says() -> None:
    compiled = compile_snapshot(load_text(SAMPLE, {}, ""), revision=7, secret=SECRET)
    (shop,) = compiled.routes
    assert compiled.revision == 7
    assert [upstream.name for upstream in compiled.upstreams] == ["blue", "green", "canary", "next"]
    assert [endpoint.port for endpoint in compiled.upstreams[0].endpoints] == [9001, 9011]
    assert (shop.match.hosts, shop.match.prefix) == ((b"shop.example.com", b"*.shop.example.com"), b"/")
    assert (shop.stable, shop.split.upstreams, shop.split.weights) == (0, (0, 2), (19, 1))
    assert [rule.split.upstreams for rule in shop.rules] == [(2,), (2,), (0, 2)]
    assert shop.sticky is not None
    assert (shop.sticky.by, shop.sticky.name, shop.sticky.max_age) == (StickyBy.COOKIE, b"hg_bucket", 2592000)
    assert shop.sticky.secret == SECRET
    assert shop.retry is not None
    assert (shop.retry.attempts, shop.retry.budget, shop.retry.other_upstream) == (1, 0.2, True)
    assert shop.retry.on == {RetryOn.CONNECT, RetryOn.RESET}
    assert shop.retry.statuses == {502, 503, 504}
    assert [flag.name for flag in shop.flags] == [b"new-checkout"]
    assert compiled.wanted == {b"x-canary", b"x-beta", b"cookie"}
    assert compiled.uses_geo
    assert compiled.trusted.contain("10.1.2.3")
    assert compiled.limits == Limits()
    assert compiled.timeouts == Timeouts()
    assert compiled.geo == GeoSource("GeoLite2-City.mmdb", (("10.1.0.0/16", Place(country="DE", subdivision="DE-BE")),))
    assert compiled.access_log == AccessLog("-", 1.0)


def test_snapshot_survives_pickling_with_its_splits_shared() -> None:
    compiled = compile_snapshot(load_text(SAMPLE, {}, ""), revision=1, secret=SECRET)
    copy = pickle.loads(pickle.dumps(compiled, pickle.HIGHEST_PROTOCOL))
    assert (copy.routes[0].name, copy.wanted, copy.geo) == (compiled.routes[0].name, compiled.wanted, compiled.geo)
    assert copy.routes[0].split is copy.routes[0].declared_split
    decision = decide(copy, get("/x", host="a.shop.example.com", x_canary="true"), DRAWS)
    assert decision is not None
    assert (decision.reason, decision.rule, copy.upstreams[decision.upstream].name) == (Reason.RULE, 0, "canary")


def test_hot_path_imports_neither_pydantic_nor_yaml_nor_maxminddb() -> None:
    program = (
        "import sys, routing.decide, routing.snapshot, routing.geo, routing.addresses\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'pydantic', 'ruamel', 'maxminddb'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("asn", [64500, "64500", "AS64500", "as64500"])
def test_network_of_a_range_is_written_as_in_rules(asn: int | str) -> None:
    tree = {**document(shop={"stable": "blue"}), "geo": {"ranges": {"10.0.0.0/8": {"asn": asn}}}}
    assert snapshot_of(tree).geo.ranges == (("10.0.0.0/8", Place(asn=64500)),)


@pytest.mark.parametrize(
    ("route", "wanted", "uses_geo"),
    [
        ({}, set(), False),
        ({"sticky": {"cookie": "hg"}}, {b"cookie"}, False),
        ({"sticky": {"header": "X-User-Id"}}, {b"x-user-id"}, False),
        ({"sticky": {"client_ip": True}}, set(), False),
        ({"rules": [{"when": {"cookie": {"a": "1"}}, "send": "green"}]}, {b"cookie"}, False),
        ({"rules": [{"when": {"header": {"X-A": "1", "X-B": "2"}}, "send": "green"}]}, {b"x-a", b"x-b"}, False),
        ({"rules": [{"when": {"geo": {"asn": 1}}, "send": "green"}]}, set(), True),
        ({"flags": {"f": {"percent": 1, "when": {"header": {"x-a": "1"}, "geo": {"city": "x"}}}}}, {b"x-a"}, True),
    ],
)
def test_wanted_names_are_those_that_rules_stickiness_and_flags_look_at(
    route: dict[str, Any], wanted: set[bytes], uses_geo: bool
) -> None:
    compiled = snapshot(**route)
    assert compiled.wanted == wanted
    assert compiled.uses_geo is uses_geo


@pytest.mark.parametrize(
    ("host", "policy", "literal"),
    [
        ("preserve", HostPolicy.PRESERVE, b""),
        ("upstream", HostPolicy.UPSTREAM, b""),
        ("shop.internal:8080", HostPolicy.LITERAL, b"shop.internal:8080"),
    ],
)
def test_host_of_an_upstream_is_a_policy_or_a_literal(host: str, policy: HostPolicy, literal: bytes) -> None:
    tree = document(shop={"stable": "blue"})
    tree["upstreams"]["blue"]["host"] = host
    blue = snapshot_of(tree).upstreams[0]
    assert (blue.host_policy, blue.host_literal) == (policy, literal)


def test_https_endpoints_are_verified_unless_told_otherwise() -> None:
    tree = document(shop={"stable": "blue"})
    tree["upstreams"]["blue"] = {"endpoints": ["https://a", "unix:///run/a.sock"]}
    tree["upstreams"]["green"] = {"endpoints": ["https://b"], "tls": {"verify": False, "ca": "ca.pem"}}
    blue, canary, green = snapshot_of(tree).upstreams
    assert blue.tls == UpstreamTls(True, None, None)
    assert canary.tls is None
    assert green.tls == UpstreamTls(False, "ca.pem", None)
    assert blue.endpoints[1].unix_path == "/run/a.sock"


@pytest.mark.parametrize("key", ["path", "path_prefix"])
def test_path_beyond_ascii_is_matched_as_it_comes_over_the_wire(key: str) -> None:
    compiled = snapshot(match={key: "/café"})
    assert compiled.table.find(b"GET", b"", b"/caf%C3%A9") == 0


def test_weight_of_zero_in_the_file_leaves_the_rules_open() -> None:
    rule = {"when": {"header": {"x-canary": "1"}}, "send": "canary"}
    compiled = snapshot(weights={"blue": 100, "canary": 0}, rules=[rule])
    decision = decide(compiled, get(x_canary="1"), DRAWS)
    assert decision is not None
    assert compiled.upstreams[decision.upstream].name == "canary"


def test_compile_of_a_document_with_problems_raises_them() -> None:
    tree = document(shop={"stable": "blue"})
    config = Config.model_validate(tree | {"routes": {"shop": {"stable": "bleu"}}})
    assert [str(p) for p in problems(config)] == ["routes.shop.stable: unknown upstream 'bleu', did you mean 'blue'?"]
    with pytest.raises(ConfigError, match="bleu"):
        compile_snapshot(config, revision=1, secret=SECRET)


NAMES = ("blue", "canary")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"blue": 95, "canary": 5}, []),
        ({"blue": 0.000001}, []),
        ({"canray": 1.0}, [("canray", "unknown upstream 'canray', did you mean 'canary'?")]),
        ({"blue": -1.0}, [("blue", "a weight must not be negative")]),
        ({"blue": float("nan")}, [("blue", "a weight must be a finite number")]),
        ({"blue": float("inf")}, [("blue", "a weight must be a finite number")]),
        ({"blue": 1e-7}, [("blue", "a weight has at most 6 decimals")]),
        ({"blue": 1e10}, [("blue", "a weight must be at most 1000000000")]),
        ({"blue": 0.0, "canary": 0}, [("", "all weights are zero")]),
        ({}, [("", "names no upstream")]),
        (
            {"zzz": -1.0, "blue": 0.0},
            [("zzz", "unknown upstream 'zzz'"), ("zzz", "a weight must not be negative")],
        ),
    ],
)
def test_weight_problems_name_the_upstream_and_what_is_wrong(
    weights: dict[str, float], expected: list[tuple[str, str]]
) -> None:
    assert weight_problems(weights, NAMES) == expected


def test_warnings_name_each_section_that_has_no_effect_yet_and_flags_near_their_end() -> None:
    of_a_fleet = "state: {dir: ./headgate-state, url: postgresql://db/headgate}"
    config = load_text(SAMPLE.replace("state: ./headgate-state", of_a_fleet), {}, "")
    said = [str(warning) for warning in warnings(config, date(2027, 1, 30))]
    assert said == [
        "state.url (line 8): accepted, but has no effect in this version",
        "upstreams.blue.tls (line 22): has no effect: no endpoint here begins with https://",
        "routes.shop.flags.new-checkout.expires (line 54): the flag (SHOP-123) expires in 1 day",
    ]


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        ("2027-01-01", "the flag expired 9 days ago"),
        ("2027-01-09", "the flag expired 1 day ago"),
        ("2027-01-10", "the flag expires today"),
        ("2027-01-24", "the flag expires in 14 days"),
        ("2027-01-25", None),
        (None, None),
    ],
)
def test_warnings_of_a_flag_begin_14_days_before_its_end(expires: str | None, said: str | None) -> None:
    config = load_tree(document(shop={"stable": "blue", "flags": {"f": {"percent": 1, "expires": expires}}}))
    found = [warning.message for warning in warnings(config, date(2027, 1, 10))]
    assert found == ([] if said is None else [said])


def test_warnings_of_a_plain_document_are_none() -> None:
    tree = document(shop={"stable": "blue", "shadow": {"upstream": "green", "percent": 0}})
    assert warnings(load_tree(tree), date(2027, 1, 10)) == []
    tree["state"] = {"dir": "x", "url": "postgresql://db/headgate"}
    assert [w.path for w in warnings(load_tree(tree), date(2027, 1, 10))] == ["state.url"]


@pytest.mark.parametrize(
    ("memory", "workers", "warned"),
    [("auto", 4, False), (0, 4, False), ("64MiB", "auto", False), ("63MiB", 1, True), ("255MiB", 4, True)],
)
def test_memory_that_no_worker_could_serve_in_is_warned_of(memory: object, workers: object, warned: bool) -> None:
    tree = {**document(shop={"stable": "blue"}), "limits": {"memory": memory}, "workers": workers}
    assert [w.path for w in warnings(load_tree(tree), date(2027, 1, 10))] == ["limits.memory"] * warned


@pytest.mark.parametrize(
    ("breaker", "warned"),
    [({"requests": 5, "waiting": 5}, True), ({"requests": 5, "waiting": 4}, False), ({"waiting": 5}, False)],
)
def test_circuit_breaker_whose_line_is_as_long_as_all_of_it_is_warned_of(breaker: dict[str, int], warned: bool) -> None:
    tree = document(shop={"stable": "blue"})
    tree["upstreams"]["blue"]["circuit_breaker"] = breaker
    found = [warning.path for warning in warnings(load_tree(tree), date(2027, 1, 10))]
    assert found == ["upstreams.blue.circuit_breaker.waiting"] * warned


def test_circuit_breakers_are_as_many_as_the_workers_can_count() -> None:
    tree = document(shop={"stable": "blue"})
    for number in range(MOST_BREAKERS + 1):
        tree["upstreams"][f"u{number}"] = {"endpoints": ["http://a"], "circuit_breaker": {"requests": 1}}
    with pytest.raises(ConfigError, match=f"^upstreams: at most {MOST_BREAKERS} of them may have a circuit_breaker$"):
        load_tree(tree)
    del tree["upstreams"]["u0"]
    load_tree(tree)
