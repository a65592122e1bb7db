"""Documents that the tests of routing share: the sample of the public contract, and small ones made to measure."""

from __future__ import annotations

from typing import Any

from routing.compile import compile_snapshot
from routing.load import load_tree
from routing.request import NOWHERE, Place, Request
from routing.snapshot import Snapshot

SECRET = b"0123456789abcdef0123456789abcdef"

SAMPLE = """\
listen:
  - address: 0.0.0.0:8080
  - address: 0.0.0.0:8443
    tls: {certificate: cert.pem, key: key.pem, min_version: "1.2", hsts: 31536000}
workers: auto
admin:
  address: 127.0.0.1:9901
state: ./headgate-state
geo:
  database: GeoLite2-City.mmdb
  ranges: {10.1.0.0/16: {country: DE, subdivision: DE-BE}}
trusted_proxies: [10.0.0.0/8]
timeouts: {connect: 2s, response: 30s, idle: 60s, request_head: 10s, request_body: 60s, drain: 30s}
limits: {request_head: 32KiB, headers: 100, body: 0, connections: 10000, per_endpoint: 1024}
access_log: {path: "-", sample: 1.0}

upstreams:
  blue:
    endpoints: [http://127.0.0.1:9001, http://127.0.0.1:9011]
    health_check: {path: /health/ready, interval: 5s, timeout: 1s, healthy: 2, unhealthy: 3}
    outlier: {consecutive_5xx: 5, ejection: 30s, max_ejected: 50%}
    tls: {verify: true, ca: ca.pem}
    host: preserve
  green:  {endpoints: [http://127.0.0.1:9002]}
  canary: {endpoints: [http://127.0.0.1:9003]}
  next:   {endpoints: [http://127.0.0.1:9004]}

routes:
  shop:
    match: {hosts: [shop.example.com, "*.shop.example.com"], path_prefix: /}
    stable: blue
    weights: {blue: 95, canary: 5}
    rules:
      - {when: {header: {x-canary: "true"}}, send: canary}
      - {when: {cookie: {beta: {present: true}}}, send: canary}
      - {when: {geo: {country: [DE, AT], subdivision: US-NY}}, send: {blue: 80, canary: 20}}
    sticky: {cookie: hg_bucket, max_age: 30d}
    retry: {attempts: 1, on: [connect, reset, 502, 503, 504], budget: 20%, other_upstream: true}
    shadow:
      upstream: next
      control: null
      percent: 10
      by: request
      methods: [GET, HEAD]
      max_body: 256KiB
      timeout: 10s
      headers: {set: {x-shadow: "1"}, remove: [authorization, cookie]}
      compare:
        headers: [content-type, location, cache-control]
        ignore: ["$.timestamp", "$..request_id", "header:date"]
        unordered: ["$.items"]
        number_tolerance: 1e-9
    flags:
      new-checkout: {percent: 10, when: {header: {x-beta: "1"}}, expires: 2027-01-31, ticket: SHOP-123}
    rollout:
      to: canary
      smoke: [{path: /health/ready, status: 200}]
      steps:
        - {weight: 5, hold: 5m, max_error_rate: 1%}
        - {weight: 25, hold: 10m, max_error_rate: 2%}
        - {weight: 50, hold: 15m, approval: true}
        - {weight: 100, hold: 30m}
      analysis:
        error_rate: {max_increase: 1%}
        latency: {quantile: 0.95, max_ratio: 1.2}
        diff_rate: {max: 0.5%}
        false_alarm: 1%
        prometheus: [{name: orders, url: "http://127.0.0.1:9090", query: "sum(orders)", min: 100}]
        webhooks: [{url: "http://127.0.0.1:9091/gate"}]
      on_failure: cutback
"""


def document(*, upstreams: tuple[str, ...] = ("blue", "canary", "green"), **routes: dict[str, Any]) -> dict[str, Any]:
    """A document with these routes; its upstreams have one endpoint each."""
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "upstreams": {name: {"endpoints": [f"http://127.0.0.1:{9001 + i}"]} for i, name in enumerate(upstreams)},
        "routes": routes,
    }


def snapshot_of(tree: dict[str, Any]) -> Snapshot:
    return compile_snapshot(load_tree(tree), revision=1, secret=SECRET)


def snapshot(**route: Any) -> Snapshot:
    """A snapshot of one route, `shop`, with blue as its stable upstream."""
    return snapshot_of(document(shop={"stable": "blue", **route}))


def get(
    path: str = "/",
    *,
    host: str = "",
    method: str = "GET",
    query: str = "",
    client_ip: str = "192.0.2.1",
    place: Place = NOWHERE,
    **fields: str,
) -> Request:
    """A request; the fields' underscores are hyphens."""
    lines = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return Request(method.encode(), host.encode(), path.encode(), query.encode(), lines, client_ip, place)
