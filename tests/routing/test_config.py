"""The document: the contract's sample, defaults, and every mistake at once, each where it stands."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from routing.check import stable_of, weights_of
from routing.config import Config
from routing.document import ConfigError
from routing.load import load_file, load_text, load_tree
from routing.notation import Address
from tests.routing.samples import SAMPLE, document

MISTAKES = """\
listen:
  - adress: 0.0.0.0:8080
  - {address: nope, tls: {certificate: a, key: b, min_version: 1.1}}
wrokers: 3
workers: 0
admin: {address: 0.0.0.0:9901}
geo: {ranges: {10.1.0.0/33: {country: NO}}}
timeouts: {connect: 2x, idle: 0}
state: ${HOME_DIR}
upstreams:
  blue: {endpoints: [http://127.0.0.1:9001, http://127.0.0.1:9001/], healthcheck: {path: /}}
  canary: {endpoints: []}
  "bad name": {endpoints: [ftp://x]}
routes:
  shop:
    match: {path: /, path_prefix: /}
    stabel: blue
    weights: {blue: 95, canray: 5}
    rules:
      - {when: {header: {x-canary: {regx: "a"}}}, send: canary}
      - {when: {path: {regex: "a("}}, send: canray}
      - {when: {}, send: {blue: 0}}
    sticky: {cookie: a, header: b}
    retry: {on: [conect, 99], budget: 0.2}
  two: {weights: {blue: .nan, canary: -1}, stable: bleu}
  two: {}
  three: {weights: {blue: 1.1234567}, match: {hosts: x.com}, rollout: {to: blue, steps: [{weight: 5}, {weight: 4}]}}
  four: {weights: {blue: 1}, match: {hosts: x.com}, flags: {a: {percent: 10, expires: soon}}}
"""

FOUND = """\
listen[0].adress (line 2): unknown key, did you mean 'address'?
listen[1].address (line 3): must be host:port, such as 0.0.0.0:8080, :8080 or [::1]:8080
listen[1].tls.min_version (line 3): must be '1.2' or '1.3'
wrokers (line 4): unknown key, did you mean 'workers'?
workers (line 5): must be auto or a number of processes from 1 to 1024
admin (line 6): 0.0.0.0:9901 can be reached from other machines: give it tls, a loopback address, or insecure: true
geo.ranges["10.1.0.0/33"] (line 7): '10.1.0.0/33' is no network, such as 10.0.0.0/8 or 2001:db8::/32
timeouts.connect (line 8): must be a duration, such as 250ms, 2s, 5m, 12h or 30d
timeouts.idle (line 8): must be longer than 0
state (line 9): the environment variable HOME_DIR is not set, and no default is given (${HOME_DIR:-default})
upstreams.blue.healthcheck (line 11): unknown key, did you mean 'health_check'?
upstreams.blue.endpoints[1] (line 11): http://127.0.0.1:9001 is listed twice
upstreams.canary.endpoints (line 12): has no endpoint
upstreams["bad name"] (line 13): 'bad name' is no name: at most 63 letters, digits, _, - and ., of which - \
and . not first
upstreams["bad name"].endpoints[0] (line 13): must be an endpoint, such as http://10.0.0.7:8000, https://host or \
unix:///path/to.sock
routes.shop.match (line 16): path and path_prefix exclude each other: give one
routes.shop.stabel (line 17): unknown key, did you mean 'stable'?
routes.shop.weights.canray (line 18): unknown upstream 'canray', did you mean 'canary'?
routes.shop.rules[0].when.header.x-canary.regx (line 20): unknown key, did you mean 'regex'?
routes.shop.rules[1].when.path.regex (line 21): is no regular expression: missing ), unterminated subpattern at \
character 2
routes.shop.rules[1].send (line 21): unknown upstream 'canray', did you mean 'canary'?
routes.shop.rules[2].when (line 22): has no condition, so it would hold for every request
routes.shop.rules[2].send (line 22): all weights are zero
routes.shop.sticky (line 23): needs exactly one of cookie, header and client_ip: true
routes.shop.retry.on[0] (line 24): must be connect, reset or a status from 400 to 599
routes.shop.retry.on[1] (line 24): must be connect, reset or a status from 400 to 599
routes.shop.retry.budget (line 24): must be a percentage from 0% to 100%, such as 20%
routes.two.stable (line 25): unknown upstream 'bleu', did you mean 'blue'?
routes.two.weights.blue (line 25): a weight must be a finite number
routes.two.weights.canary (line 25): a weight must not be negative
routes.two (line 26): the key is there twice (first in line 25)
routes.three.weights.blue (line 27): a weight has at most 6 decimals
routes.three.rollout.to (line 27): 'blue' is the stable upstream already
routes.three.rollout.steps[1].weight (line 27): falls from 5 to 4: a rollout's weights only rise
routes.four.flags.a.expires (line 28): must be a date, such as 2027-01-31
routes.four.match (line 28): takes exactly the same requests as route 'three' for x.com
"""


def problems_of(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_tree(tree)
    return [str(problem) for problem in caught.value.problems]


def test_sample_of_the_contract_is_accepted_whole() -> None:
    config = load_text(SAMPLE, {}, "gateway.yaml")
    shop = config.routes["shop"]
    assert [str(listener.address) for listener in config.listen] == ["0.0.0.0:8080", "0.0.0.0:8443"]
    assert config.listen[1].tls is not None
    assert config.listen[1].tls.hsts == 31536000
    assert config.limits.request_head == 32768
    assert shop.weights == {"blue": 95.0, "canary": 5.0}
    assert shop.sticky is not None
    assert shop.sticky.max_age == 30 * 86400
    assert shop.shadow is not None
    assert shop.shadow.control is None
    assert shop.shadow.max_body == 262144
    assert shop.shadow.compare.number_tolerance == 1e-9
    assert shop.flags["new-checkout"].expires == date(2027, 1, 31)
    assert shop.rollout is not None
    assert [step.weight for step in shop.rollout.steps] == [5, 25, 50, 100]
    assert shop.rollout.steps[1].max_error_rate == 0.02
    assert shop.rollout.analysis.prometheus[0].min == 100


def test_document_with_only_what_is_required_gets_the_contracts_defaults() -> None:
    config = load_tree(document(shop={"stable": "blue"}))
    assert config.workers == "auto"
    assert config.admin.address == Address("127.0.0.1", 9901)
    assert (config.state.dir, config.state.url) == ("./headgate-state", None)
    assert config.timeouts.model_dump() == {
        "connect": 2.0,
        "response": 30.0,
        "idle": 60.0,
        "request_head": 10.0,
        "request_body": 60.0,
        "drain": 30.0,
        "drain_delay": 0.0,
    }
    assert config.limits.model_dump() == {
        "request_head": 32768,
        "headers": 100,
        "body": 0,
        "body_rate": 500,
        "connections": 10000,
        "connections_per_client": 0,
        "requests_per_connection": 1000,
        "per_endpoint": 1024,
        "memory": "auto",
    }
    assert (config.access_log.path, config.access_log.sample) == ("-", 1.0)
    assert config.upstreams["blue"].host == "preserve"
    shop = config.routes["shop"]
    assert (shop.sticky, shop.retry, shop.shadow, shop.rollout, shop.expose_upstream) == (None, None, None, None, False)
    assert (stable_of(shop), weights_of(shop)) == ("blue", {"blue": 100.0})


def test_shadow_by_default_copies_nothing_and_hides_credentials() -> None:
    config = load_tree(document(shop={"stable": "blue", "shadow": {"upstream": "green"}}))
    shadow = config.routes["shop"].shadow
    assert shadow is not None
    assert (shadow.percent, shadow.methods) == (0.0, ("GET", "HEAD"))
    assert shadow.headers.remove == ("authorization", "cookie")


@pytest.mark.parametrize(
    ("route", "stable", "weights"),
    [
        ({"weights": {"blue": 1}}, "blue", {"blue": 1.0}),
        ({"weights": {"blue": 1, "canary": 0}}, "blue", {"blue": 1.0, "canary": 0.0}),
        ({"stable": "green", "weights": {"blue": 1, "canary": 1}}, "green", {"blue": 1.0, "canary": 1.0}),
        ({"stable": "green"}, "green", {"green": 100.0}),
    ],
)
def test_stable_and_weights_stand_in_for_each_other(
    route: dict[str, Any], stable: str, weights: dict[str, float]
) -> None:
    declared = load_tree(document(shop=route)).routes["shop"]
    assert (stable_of(declared), weights_of(declared)) == (stable, weights)


def test_mistakes_are_all_found_at_once_each_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(MISTAKES, {}, "gateway.yaml")
    assert [str(problem) for problem in caught.value.problems] == FOUND.splitlines()
    assert caught.value.source == "gateway.yaml"


def test_mistakes_in_json_have_the_same_lines_as_in_yaml() -> None:
    text = json.dumps(document(shop={"stable": "blue", "retri": {}, "weights": {"canray": 1}}), indent=1)
    lines = text.splitlines()
    with pytest.raises(ConfigError) as caught:
        load_text(text, {}, "")
    found = {problem.path: problem.line for problem in caught.value.problems}
    for path, key in (("routes.shop.retri", '"retri"'), ("routes.shop.weights.canray", '"canray"')):
        assert found[path] == next(number for number, line in enumerate(lines, 1) if key in line)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"stable": "bleu"}, "routes.shop.stable: unknown upstream 'bleu', did you mean 'blue'?"),
        ({"stable": "zzz"}, "routes.shop.stable: unknown upstream 'zzz'"),
        ({}, "routes.shop.stable: is required, unless one upstream has all the weight: a cutback returns to it"),
        ({"weights": {"blue": 1, "canary": 1}}, "routes.shop.stable: is required, unless one upstream has all"),
        ({"weights": {}, "stable": "blue"}, "routes.shop.weights: names no upstream"),
        ({"weights": {"blue": 0}, "stable": "blue"}, "routes.shop.weights: all weights are zero"),
        ({"weights": {"blue": "5"}, "stable": "blue"}, "routes.shop.weights.blue: must be a number"),
        ({"weights": {"blue": 1e12}, "stable": "blue"}, "routes.shop.weights.blue: a weight must be at most"),
        ({"weights": {"blue": float("inf")}, "stable": "blue"}, "routes.shop.weights.blue: a weight must be a finite"),
        ({"stable": "blue", "rules": [{"when": {"path": "/"}, "send": "gren"}]}, "routes.shop.rules[0].send: unknown"),
        ({"stable": "blue", "rules": [{"when": {"path": "/"}}]}, "routes.shop.rules[0].send: is required"),
        ({"stable": "blue", "rules": [{"send": "green"}]}, "routes.shop.rules[0].when: is required"),
        (
            {"stable": "blue", "rules": [{"when": {"path": "/"}, "send": {"gren": 1}}]},
            "routes.shop.rules[0].send.gren: unknown upstream 'gren', did you mean 'green'?",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"header": {"x": {}}}, "send": "blue"}]},
            "routes.shop.rules[0].when.header.x: needs one of prefix, suffix, contains, regex, present or not",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"header": {"x": None}}, "send": "blue"}]},
            "routes.shop.rules[0].when.header.x: must be a text, a list, or one of prefix",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"header": {"x": []}}, "send": "blue"}]},
            "routes.shop.rules[0].when.header.x: lists no value",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"cookie": {"a b": "1"}}, "send": "blue"}]},
            "routes.shop.rules[0].when.cookie[\"a b\"]: 'a b' has a character",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"client_ip": "ten"}, "send": "blue"}]},
            "routes.shop.rules[0].when.client_ip: 'ten' is no network",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"geo": {"contry": "DE"}}, "send": "blue"}]},
            "routes.shop.rules[0].when.geo.contry: unknown key, did you mean 'country'?",
        ),
        (
            {"stable": "blue", "rules": [{"when": {"headers": {"x": "1"}}, "send": "blue"}]},
            "routes.shop.rules[0].when.headers: unknown key, did you mean 'header'?",
        ),
        ({"stable": "blue", "sticky": {}}, "routes.shop.sticky: needs exactly one of"),
        ({"stable": "blue", "sticky": {"client_ip": False}}, "routes.shop.sticky: needs exactly one of"),
        ({"stable": "blue", "sticky": {"header": "x", "max_age": "1d"}}, "routes.shop.sticky.max_age: is the life of"),
        ({"stable": "blue", "match": {"hosts": ["a:80"]}}, "routes.shop.match.hosts[0]: 'a:80': hosts are matched"),
        ({"stable": "blue", "match": {"hosts": []}}, "routes.shop.match.hosts: is an empty list"),
        ({"stable": "blue", "match": {"path_prefix": "api"}}, "routes.shop.match.path_prefix: 'api' is no path"),
        ({"stable": "blue", "match": {"path_regex": "("}}, "routes.shop.match.path_regex: is no regular expression"),
        ({"stable": "blue", "match": {"methods": ["G T"]}}, "routes.shop.match.methods[0]: 'G T' has a character"),
        ({"stable": "blue", "match": "/"}, "routes.shop.match: must be a mapping"),
        ({"stable": "blue", "rules": {"when": 1}}, "routes.shop.rules: must be a list"),
        ({"stable": "blue", "expose_upstream": "yes"}, "routes.shop.expose_upstream: must be true or false"),
        ({"stable": "blue", "shadow": {"upstream": "x"}}, "routes.shop.shadow.upstream: unknown upstream 'x'"),
        ({"stable": "blue", "shadow": {"percent": 5}}, "routes.shop.shadow.upstream: is required"),
        (
            {"stable": "blue", "shadow": {"upstream": "green", "control": "bleu"}},
            "routes.shop.shadow.control: unknown upstream 'bleu'",
        ),
        *(
            ({"stable": "blue", "shadow": {"upstream": "green", **part}}, f"routes.shop.shadow.{message}")
            for part, message in (
                ({"percent": 101}, "percent: must be a percentage"),
                ({"percent": -1}, "percent: must be a percentage"),
                ({"control": "green"}, "control: must run what stable runs"),
                (
                    {"upstream": "blue", "methods": ["POST"]},
                    "upstream: 'blue' is the route's stable: POST would be done",
                ),
                ({"control": "blue", "methods": ["GET", "PUT"]}, "control: 'blue' is the route's stable: PUT would be"),
                ({"methods": []}, "methods: lists no method"),
                ({"compare": {"ignore": ["$.a["]}}, "compare.ignore[0]: '$.a[' is no JSONPath"),
                ({"compare": {"ignore": ["a.b"]}}, "compare.ignore[0]: 'a.b' is neither a JSONPath"),
                ({"compare": {"unordered": ["items"]}}, "compare.unordered[0]: 'items' is no JSONPath"),
                ({"headers": {"remove": ["Content-Length"]}}, "headers.remove[0]: content-length is the gateway's own"),
                ({"headers": {"set": {"Host": "x"}}}, "headers.set.Host: is the gateway's own"),
                ({"headers": {"set": {"X-A": "a\r\nB: c"}}}, "headers.set.X-A: a field's value has no line breaks"),
            )
        ),
        ({"stable": "blue", "rollout": {"to": "x", "steps": [{"weight": 1}]}}, "routes.shop.rollout.to: unknown"),
        ({"stable": "blue", "rollout": {"to": "green", "steps": []}}, "routes.shop.rollout.steps: has no step"),
        ({"stable": "blue", "flags": {"a b": {"percent": 1}}}, "routes.shop.flags[\"a b\"]: 'a b' has a character"),
        ({"stable": "blue", "flags": {"a": {"percent": 101}}}, "routes.shop.flags.a.percent: must be a percentage"),
        ({"stable": "blue", "flags": {"a": {"percent": 1, "when": {}}}}, "routes.shop.flags.a.when: has no condition"),
        (
            {"stable": "blue", "flags": {"a": {"percent": 1, "when": {"path": {"regex": "["}}}}},
            "routes.shop.flags.a.when.path.regex: is no regular expression",
        ),
    ],
)
def test_route_with_one_mistake_has_one_problem(route: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(document(shop=route))
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"routes": {}}, "routes: names no route"),
        ({"routes": None}, "routes: must be a mapping"),
        ({"upstreams": {}}, "upstreams: names no upstream"),
        ({"listen": []}, "listen: names no address"),
        ({"listen": [{"address": ":80"}, {"address": ":80"}]}, "listen[1].address: :80 is listed twice"),
        ({"admin": {"address": ":9901"}}, "admin: :9901 can be reached from other machines"),
        ({"admin": {"adress": "x"}}, "admin.adress: unknown key, did you mean 'address'?"),
        ({"trusted_proxies": ["10.0.0.0/8", "ten"]}, "trusted_proxies[1]: 'ten' is no network"),
        ({"limits": {"headers": -1}}, "limits.headers: must be a whole number, 0 or more"),
        ({"access_log": {"sample": 2}}, "access_log.sample: must be from 0 to 1"),
        ({"state": {"directory": "x"}}, "state.directory: unknown key"),
        ({"upstream": {}}, "upstream: unknown key, did you mean 'upstreams'?"),
        ({"geo": {"ranges": {"10.0.0.0/8": {"county": "DE"}}}}, 'geo.ranges["10.0.0.0/8"].county: unknown key'),
    ],
)
def test_section_with_one_mistake_has_that_problem(change: dict[str, Any], said: str) -> None:
    found = problems_of(document(shop={"stable": "blue"}) | change)
    assert any(problem.startswith(said) for problem in found), found


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        ({}, "upstreams.blue.endpoints: is required"),
        ({"endpoints": []}, "upstreams.blue.endpoints: has no endpoint"),
        ({"endpoints": ["http://a", "http://a:80"]}, "upstreams.blue.endpoints[1]: http://a is listed twice"),
        ({"endpoints": ["a:80"]}, "upstreams.blue.endpoints[0]: must be an endpoint"),
        ({"endpoints": ["http://a"], "host": "a b"}, "upstreams.blue.host: 'a b' is neither preserve, upstream nor"),
        ({"endpoints": ["http://a"], "outlier": {"max_ejected": 50}}, "upstreams.blue.outlier.max_ejected: must be"),
        ({"endpoints": ["http://a"], "slow_start": 0}, "upstreams.blue.slow_start: must be"),
        (
            {"endpoints": ["http://a"], "circuit_breaker": {}},
            "upstreams.blue.circuit_breaker: needs requests or waiting",
        ),
        (
            {"endpoints": ["http://a"], "circuit_breaker": {"waiting": 0}},
            "upstreams.blue.circuit_breaker.waiting: must be",
        ),
        ({"endpoints": ["http://a"], "health_check": {}}, "upstreams.blue.health_check.path: is required"),
        (
            {"endpoints": ["http://a"], "health_check": {"tcp": True, "path": "/up", "status": 204}},
            "upstreams.blue.health_check: tcp: true makes a connection and asks for nothing, so path and status",
        ),
        (
            {"endpoints": ["http://a"], "health_check": {"path": "/up", "body": {}}},
            "upstreams.blue.health_check.body: needs contains or regex",
        ),
        (
            {"endpoints": ["http://a"], "health_check": {"path": "/up", "status": 99}},
            "upstreams.blue.health_check.status",
        ),
        ({"endpoints": ["http://a"], "no_endpoints": "panic"}, "upstreams.blue.no_endpoints: must be"),
    ],
)
def test_upstream_with_one_mistake_has_one_problem(upstream: dict[str, Any], said: str) -> None:
    tree = document(shop={"stable": "blue"})
    tree["upstreams"]["blue"] = upstream
    (problem,) = problems_of(tree)
    assert problem.startswith(said)


@pytest.mark.parametrize("missing", ["listen", "upstreams", "routes"])
def test_required_section_that_is_missing_is_named(missing: str) -> None:
    tree = document(shop={"stable": "blue"})
    del tree[missing]
    assert any(problem.startswith(f"{missing}: ") for problem in problems_of(tree))


@pytest.mark.parametrize("tree", [None, [], "text", 5])
def test_document_that_is_no_mapping_is_refused(tree: object) -> None:
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_tree(tree)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({}, {}, True),
        ({"path_prefix": "/"}, {}, True),
        ({"hosts": ["a.com", "b.com"]}, {"hosts": ["b.com"]}, True),
        ({"hosts": ["*"]}, {}, True),
        ({"path": "/a"}, {"path_prefix": "/a"}, False),
        ({"hosts": ["a.com"]}, {"hosts": ["*.a.com"]}, False),
        ({"methods": ["GET", "HEAD"]}, {"methods": ["head", "get"]}, True),
        ({"methods": ["GET"]}, {}, False),
        ({"path_regex": "a"}, {"path_regex": "a"}, True),
        ({"path_regex": "a"}, {"path_regex": "b"}, False),
    ],
)
def test_routes_that_take_exactly_the_same_requests_are_refused(
    one: dict[str, Any], two: dict[str, Any], same: bool
) -> None:
    tree = document(one={"stable": "blue", "match": one}, two={"stable": "blue", "match": two})
    if same:
        (problem,) = problems_of(tree)
        assert problem.startswith("routes.two.match: takes exactly the same requests as route 'one'")
    else:
        load_tree(tree)


def test_country_no_stays_a_country() -> None:
    text = SAMPLE.replace("country: [DE, AT]", "country: [NO, SE]").replace("country: DE,", "country: NO,")
    config = load_text(text, {}, "")
    geo = config.routes["shop"].rules[2].when.geo
    assert geo is not None
    assert geo.country == ("NO", "SE")
    assert config.geo.ranges["10.1.0.0/16"].country == "NO"


def test_numbers_and_booleans_are_taken_as_written_where_a_text_is_meant() -> None:
    tree = SAMPLE.replace('x-canary: "true"', "x-canary: true").replace('x-beta: "1"', "x-beta: [007, 1.10, 1]")
    config = load_text(tree, {}, "")
    assert config.routes["shop"].rules[0].when.header == {"x-canary": "true"}
    when = config.routes["shop"].flags["new-checkout"].when
    assert when is not None
    assert when.header == {"x-beta": ("007", "1.10", "1")}


def test_variables_fill_in_texts_and_numbers() -> None:
    text = SAMPLE.replace("workers: auto", "workers: ${WORKERS}").replace("127.0.0.1:9901", "127.0.0.1:${ADMIN:-9902}")
    config = load_text(text, {"WORKERS": "3"}, "")
    assert config.workers == 3
    assert config.admin.address.port == 9902


def test_variable_without_value_is_a_problem_beside_the_others() -> None:
    text = SAMPLE.replace("workers: auto", "workers: ${WORKERS}").replace("send: canary", "send: canray", 1)
    with pytest.raises(ConfigError) as caught:
        load_text(text, {}, "")
    assert [problem.path for problem in caught.value.problems] == ["workers", "routes.shop.rules[0].send"]


@pytest.mark.parametrize(
    ("admin", "accepted"),
    [
        ({"address": "127.0.0.1:0"}, True),
        ({"address": "[::1]:9901"}, True),
        ({"address": "0.0.0.0:9901"}, False),
        ({"address": "0.0.0.0:9901", "insecure": True}, True),
        ({"address": "0.0.0.0:9901", "tls": {"certificate": "c", "key": "k"}}, True),
    ],
)
def test_admin_address_that_others_reach_is_refused_unless_encrypted_or_said_to_be_insecure(
    admin: dict[str, Any], accepted: bool
) -> None:
    tree = document(shop={"stable": "blue"}) | {"admin": admin}
    if accepted:
        load_tree(tree)
    else:
        (problem,) = problems_of(tree)
        assert "can be reached from other machines" in problem


def test_load_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_file(tmp_path / "missing.yaml", {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_file(tmp_path / "binary.yaml", {})


def test_load_file_names_itself_as_the_source(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("listen: []")
    with pytest.raises(ConfigError) as caught:
        load_file(path, {})
    assert caught.value.source == str(path)


def test_config_written_out_as_json_reads_back_as_the_same() -> None:
    config = load_text(SAMPLE, {}, "")
    for text in (config.model_dump_json(exclude_unset=True), config.model_dump_json()):
        assert load_tree(json.loads(text)).model_dump() == config.model_dump()


def test_config_cannot_be_changed() -> None:
    config = load_text(SAMPLE, {}, "")
    with pytest.raises(ValueError, match="frozen"):
        config.workers = 5  # type: ignore[misc]


def test_load_tree_leaves_the_callers_tree_as_it_was() -> None:
    tree = document(shop={"stable": "blue", "retri": 1, "rules": [{"when": {}, "send": "x"}]})
    before = copy.deepcopy(tree)
    problems_of(tree)
    assert tree == before


def test_schema_of_the_document_can_be_published() -> None:
    assert "routes" in json.dumps(Config.model_json_schema())
