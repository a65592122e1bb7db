"""Certificates replaced under load: kept connections, and those that shake hands at that moment."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import trustme

from tests.support.certificates import secured, trusting, write
from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import Wire, request

ROTATIONS = 2


class Load:
    """Clients that keep a connection, and clients that make one for each request. `failures` is what went wrong."""

    def __init__(self, gateway: Gateway, authority: trustme.CA, kept: int = 2, fresh: int = 1) -> None:
        self._gateway = gateway
        self._context = trusting(authority)
        self._stop = threading.Event()
        self.served: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        loops = [self._keep] * kept + [self._come_and_go] * fresh
        self._threads = [threading.Thread(target=self._run, args=(loop,)) for loop in loops]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, loop: object) -> None:
        assert callable(loop)
        try:
            loop()
        except BaseException as error:
            self.failures.append(error)

    def _ask(self, client: Wire, kind: str) -> None:
        client.send(request())
        assert client.response().status == 200
        self.served[kind] += 1

    def _keep(self) -> None:
        with secured(self._gateway, self._context) as client:
            while not self._stop.is_set():
                self._ask(client, "kept")

    def _come_and_go(self) -> None:
        while not self._stop.is_set():
            with secured(self._gateway, self._context) as client:
                self._ask(client, "fresh")


def test_files_replaced_one_after_the_other_under_load_cost_no_connection(stage: Stage) -> None:
    """Between the two writes they don't fit, as with any program that writes them in place."""
    authority = trustme.CA()
    files = write(authority.issue_cert("localhost"), stage.folder)
    gateway = stage.running(
        {"blue": stage.origin().url},
        listen=[{"address": "127.0.0.1:0", "tls": files}],
        workers=2,
        limits={"requests_per_connection": 0},
    )

    def serials() -> set[str]:
        """Of several connections, which the kernel spreads over the workers."""
        found = set()
        for _ in range(6):
            with secured(gateway, trusting(authority)) as client:
                found.add(client.sock.getpeercert()["serialNumber"])  # type: ignore[attr-defined]
        return found

    def all_new() -> bool:
        return not serials() & seen

    seen = serials()
    with Load(gateway, authority) as load:
        for _ in range(ROTATIONS):
            leaf, mark = authority.issue_cert("localhost"), gateway.mark
            Path(files["key"]).write_bytes(leaf.private_key_pem.bytes())
            for number in (0, 1):
                refused = gateway.logged("certificate not reloaded", after=mark, source=f"worker {number}")
                assert "stays in use" in refused["detail"]
            assert serials() <= seen
            Path(files["certificate"]).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            gateway.until(all_new, "the new certificate in both workers")
            seen |= serials()
        asked = load.served.copy()
        gateway.until(lambda: all(load.served[kind] > asked[kind] for kind in ("kept", "fresh")), "more answers")
    assert load.failures == []
    assert len(seen) == ROTATIONS + 1
