"""What Prometheus reads: the workers' counts and the gateway's state, made when it is asked for.

A collector of our own rather than the library's counters: the workers count in plain integers, and nothing is to be paid for
between two scrapes. Label values are names from the configuration, statuses, and closed sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from admin.api.endpoints import endpoint_answers
from admin.context import Context
from admin.live import effective
from admin.notify.policy import Fate
from admin.rollout.state import Status
from admin.rollout.verdict import Kind
from proxy.stats import EDGES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LABELS = {"headgate_failovers": "route", "headgate_circuit_overflow": "upstream"}

# The client libraries' usual edges, and some for the slow. Each is read at the nearest edge of the fine buckets, 4.5 % off
# at most: they are 9 % apart.
LE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0)
_NEAREST = tuple(
    min((bisect_left(EDGES, le) - 1, bisect_left(EDGES, le)), key=lambda i: abs(EDGES[i] - le)) for le in LE
)


def cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    """The fine buckets as (le, count of what is not slower)."""
    found: list[tuple[str, float]] = []
    seen, start = 0, 0
    for le, index in zip(LE, _NEAREST, strict=True):
        seen += sum(buckets[start : index + 1])
        start = index + 1
        found.append((str(le), seen))
    return [*found, ("+Inf", sum(buckets))]


class GatewayCollector(Collector):
    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterable[Metric]:
        yield from self._traffic()
        yield from self._state()
        yield from self._rollouts()
        yield from self._shadows()
        yield from self._workers()
        yield from self._control_plane()

    def _traffic(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "headgate_requests",
            "Responses by status; upstream is empty where none was involved.",
            labels=["route", "upstream", "code"],
        )
        durations = HistogramMetricFamily(
            "headgate_request_duration_seconds",
            "From the request's head to the response's end.",
            labels=["route", "upstream"],
        )
        for (route, upstream), total in self._context.rates.totals.items():
            for code, count in total.codes.items():
                requests.add_metric([route, upstream, str(code)], count)
            durations.add_metric([route, upstream], cumulative(total.buckets), total.seconds)
        yield requests
        yield durations

    def _state(self) -> Iterator[Metric]:
        gateway = self._context.gateway
        weight = GaugeMetricFamily(
            "headgate_weight", "Per cent in force for traffic that no rule takes.", labels=["route", "upstream"]
        )
        cut_back = GaugeMetricFamily("headgate_cut_back", "1 while the route is cut back.", labels=["route"])
        cutbacks = CounterMetricFamily(
            "headgate_cutbacks", "Cutbacks since the control plane started.", labels=["route"]
        )
        for route in gateway.snapshot.routes:
            shares = effective(gateway.snapshot, route)
            names = (
                gateway.snapshot.upstreams[i].name for i in (*route.declared_split.upstreams, *route.split.upstreams)
            )
            for name in dict.fromkeys((*names, *shares)):
                weight.add_metric([route.name, name], shares.get(name, 0.0))
            cut_back.add_metric([route.name], float(route.cutback is not None))
            cutbacks.add_metric([route.name], gateway.cutbacks.get(route.name, 0))
        healthy = GaugeMetricFamily(
            "headgate_upstream_healthy",
            "0 where checks or every worker have taken it out of rotation.",
            labels=["upstream", "endpoint"],
        )
        gauges = self._context.rates.gauges()
        for upstream in gateway.snapshot.upstreams:
            for endpoint in endpoint_answers(self._context, gateway.laid, upstream.name, gauges):
                healthy.add_metric([upstream.name, endpoint.endpoint], float(endpoint.healthy))
        yield from (weight, cut_back, cutbacks, healthy)

    def _rollouts(self) -> Iterator[Metric]:
        """Of routes that have had one: what is under way, or how the last one ended."""
        rollouts = self._context.rollouts
        step = GaugeMetricFamily("headgate_rollout_step", "From 1; 0 where none is under way.", labels=["route"])
        state = GaugeMetricFamily("headgate_rollout_state", "1 for the one it is in.", labels=["route", "state"])
        verdict = GaugeMetricFamily("headgate_rollout_verdict", "1 for the last one.", labels=["route", "verdict"])
        for route in self._context.gateway.snapshot.routes:
            if (rollout := rollouts.of(route.name)) is None:
                continue
            step.add_metric([route.name], 0 if rollout.status.ended else rollout.stage + 1)
            for status in Status:
                state.add_metric([route.name, status.value], float(rollout.status is status))
            for kind in Kind:
                verdict.add_metric([route.name, kind.value], float(rollout.verdict.kind is kind))
        ended = CounterMetricFamily(
            "headgate_rollouts", "Ended since the control plane started, by how.", labels=["route", "outcome"]
        )
        for (name, outcome), count in rollouts.outcomes.items():
            ended.add_metric([name, outcome], count)
        yield from (step, state, verdict, ended)

    def _shadows(self) -> Iterator[Metric]:
        diffs, gateway = self._context.diffs, self._context.gateway
        percent = GaugeMetricFamily("headgate_shadow_percent", "Of the requests, in force.", labels=["route"])
        for route in gateway.snapshot.routes:
            if route.shadow is not None:
                percent.add_metric([route.name], route.shadow.percent)
        yield percent
        for name, text, label, counts in (
            ("shadow_requests", "Copies sent to the shadow, by what became of them.", "outcome", diffs.outcomes),
            ("shadow_dropped", "Requests in the sample that were not compared.", "reason", diffs.dropped),
            ("diffs", "Compared pairs, by what is ignored now.", "verdict", diffs.verdicts()),
        ):
            family = CounterMetricFamily(f"headgate_{name}", text, labels=["route", label])
            for (of_route, value), count in counts.items():
                family.add_metric([of_route, value], count)
            yield family
        copied = CounterMetricFamily("headgate_shadow_copied", "Requests copied by the workers.", labels=["route"])
        for of_route, count in diffs.copied.items():
            copied.add_metric([of_route], count)
        yield copied
        process = self._context.rates.workers.shadow
        up = float(process is not None and process.ready)
        yield GaugeMetricFamily("headgate_shadow_up", "1 while the shadow process takes copies.", value=up)
        restarts = 0 if process is None else process.restarts
        yield CounterMetricFamily("headgate_shadow_restarts", "Shadow processes that were replaced.", value=restarts)
        yield CounterMetricFamily(
            "headgate_diffs_store_failures", "Attempts to store diffs that failed.", value=diffs.failures
        )

    def _workers(self) -> Iterator[Metric]:
        rates = self._context.rates
        counted: dict[str, dict[str, float]] = {}
        for (metric, label), count in rates.counters.items():
            counted.setdefault(metric, {})[label] = count
        for metric, values in sorted(counted.items()):
            yield _counter(f"headgate_{metric}", values)
        gauges = {"connections": 0.0, "in_flight": 0.0}
        families = {
            name: GaugeMetricFamily(f"headgate_{name}", text, labels=labels)
            for name, text, labels in (
                ("endpoint_in_flight", "Requests under way.", ["upstream", "endpoint"]),
                ("endpoint_ejected", "Workers that have ejected it.", ["upstream", "endpoint"]),
                ("circuit_requests", "Requests that count in the circuit breaker.", ["upstream"]),
                ("circuit_waiting", "Those of them in line for a connection.", ["upstream"]),
            )
        }
        for name, value in rates.gauges().items():
            metric, _, labels = name.partition(" ")
            if labels:
                families[metric].add_metric(labels.split(" "), value)
            else:
                gauges[metric] = value
        for metric, value in sorted(gauges.items()):
            yield GaugeMetricFamily(f"headgate_{metric}", "Now, over all workers.", value=value)
        yield from families.values()
        ready = sum(worker.ready for worker in rates.workers.workers)
        yield GaugeMetricFamily("headgate_workers_ready", "Workers that serve.", value=ready)
        yield CounterMetricFamily(
            "headgate_worker_restarts", "Workers that were replaced.", value=rates.workers.restarts
        )
        crashing = GaugeMetricFamily(
            "headgate_crash_loop", "Deaths in a row, of processes that die again and again.", labels=["process"]
        )
        for name, deaths in rates.workers.crashing.items():
            crashing.add_metric([name], deaths)
        yield crashing

    def _control_plane(self) -> Iterator[Metric]:
        context, journal = self._context, self._context.gateway.journal
        yield GaugeMetricFamily("headgate_revision", "The revision in force.", value=context.gateway.revision)
        yield GaugeMetricFamily(
            "headgate_start_time_seconds", "When the gateway started, in Unix time.", value=context.started_at
        )
        bad = float(context.reload_error is not None)
        yield GaugeMetricFamily("headgate_config_reload_failed", "1 while the last reload was refused.", value=bad)
        yield GaugeMetricFamily("headgate_store_pending", "Changes in force and not yet stored.", value=journal.pending)
        yield CounterMetricFamily("headgate_store_failures", "Attempts to store that failed.", value=journal.failures)
        yield CounterMetricFamily(
            "headgate_audit_dropped", "Audit entries lost for want of room.", value=journal.dropped
        )
        yield GaugeMetricFamily(
            "headgate_store_kept_aside", "Damaged databases kept in the state folder.", value=len(context.kept_aside)
        )
        yield from self._access()
        yield from self._news()
        build = GaugeMetricFamily("headgate_build_info", "Always 1.", labels=["version", "node"])
        build.add_metric([context.version, context.gateway.node], 1.0)
        yield build

    def _news(self) -> Iterator[Metric]:
        feed, notifier = self._context.news.feed, self._context.news.notifier
        told = CounterMetricFamily("headgate_notifications", "By what became of them.", labels=["outcome"])
        for fate in Fate:
            told.add_metric([fate.value], notifier.fates[fate])
        yield told
        yield GaugeMetricFamily("headgate_notifications_pending", "Queued, or under way.", value=notifier.pending)
        yield GaugeMetricFamily("headgate_event_streams", "Clients of GET /v1/events.", value=feed.followers)
        dropped = CounterMetricFamily(
            "headgate_event_streams_dropped", "Such clients that were cut off, or not let in.", labels=["reason"]
        )
        for drop, count in feed.drops.items():
            dropped.add_metric([drop.value], count)
        yield dropped

    def _access(self) -> Iterator[Metric]:
        throttle, refused = self._context.throttle, self._context.refused
        yield CounterMetricFamily(
            "headgate_admin_login_failures", "Calls with a token that is not known.", value=throttle.failures
        )
        yield CounterMetricFamily(
            "headgate_admin_login_addresses_forgotten",
            "Addresses of such calls that found no room within their minute.",
            value=throttle.forgotten,
        )
        if self._context.provider is not None:
            failures = self._context.provider.keys.failures
            text = "Attempts to get the identity provider's keys that failed."
            yield CounterMetricFamily("headgate_admin_oidc_key_failures", text, value=failures)
        family = CounterMetricFamily("headgate_admin_refused", "Changes that were refused.", labels=["code"])
        for status, count in sorted(refused.counts.items()):
            family.add_metric([str(status)], count)
        yield family
        yield CounterMetricFamily(
            "headgate_admin_refused_unrecorded", "Of these, not in the audit log: too many.", value=refused.unrecorded
        )


def _counter(name: str, values: Mapping[str, float]) -> Metric:
    """Labelled as _LABELS says unless there is but one count, without a label."""
    text = "Counted by the workers."
    if values.keys() == {""}:
        return CounterMetricFamily(name, text, value=values[""])
    family = CounterMetricFamily(name, text, labels=[_LABELS.get(name, "kind")])
    for label, value in sorted(values.items()):
        family.add_metric([label], value)
    return family


def registry_of(context: Context) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(context))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)
