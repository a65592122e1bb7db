"""A gateway that cannot run says why in one clear line, at once, and leaves with a non-zero exit code."""

from __future__ import annotations

import signal
import socket

import pytest
import trustme

from tests.support.gateway import Gateway, document
from tests.support.stage import Stage

UPSTREAMS = {"blue": "http://127.0.0.1:9", "canary": "http://127.0.0.1:9"}


def refused(gateway: Gateway) -> list[str]:
    """What it says, after it has left with exit code 1."""
    before = gateway.mark
    gateway.launch()
    assert gateway.end() == 1
    return gateway.lines[before:]


def the_line(gateway: Gateway) -> str:
    """The one line for people, among those of the log."""
    said = refused(gateway)
    assert not any("Traceback" in line for line in said), said
    [line] = [line for line in said if not line.startswith("{")]
    assert line.startswith("headgate: ")
    return line


def test_all_mistakes_of_a_configuration_are_told_at_once(stage: Stage) -> None:
    gateway = stage.gateway(document(UPSTREAMS))
    gateway.config.write_text(
        "listen: [{address: 127.0.0.1:0}]\n"
        "upstreems: {}\n"
        "upstreams:\n"
        "  blue: {endpoints: [ftp://127.0.0.1]}\n"
        "routes:\n"
        "  shop:\n"
        "    stable: blue\n"
        "    weights: {blue: -1, canray: 5}\n"
    )
    said = refused(gateway)
    assert all(line.startswith("headgate: ") for line in said)
    text = "\n".join(said)
    for part in ("upstreems", "line 2", "endpoints[0]", "line 4", "weights.blue", "weights.canray", "line 8"):
        assert part in text
    assert not gateway.state.exists()


@pytest.mark.parametrize("content", ["", "listen: [", "\x00", "routes: [1, 2]"])
def test_file_that_is_no_configuration_is_refused(stage: Stage, content: str) -> None:
    gateway = stage.gateway(document(UPSTREAMS))
    gateway.config.write_text(content)
    said = refused(gateway)
    assert said
    assert all(line.startswith("headgate: ") for line in said)


def test_configuration_that_is_not_there_is_refused(stage: Stage) -> None:
    gateway = stage.gateway(document(UPSTREAMS))
    gateway.config.unlink()
    assert str(gateway.config) in the_line(gateway)


@pytest.mark.parametrize("key", ["listen", "admin"])
def test_port_in_use_is_refused(stage: Stage, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = document(UPSTREAMS)
        settings[key] = [{"address": address}] if key == "listen" else {"address": address}
        gateway = stage.gateway(settings)
        line = the_line(gateway)
    assert address in line
    assert "in use" in line


def test_port_of_another_gateway_is_not_shared_with_it(stage: Stage) -> None:
    """SO_REUSEPORT alone would let both listen, and each get a part of the connections."""
    first = stage.running({"blue": stage.origin().url})
    host, port = first.addresses[0]
    second = stage.gateway(document(UPSTREAMS, listen=[{"address": f"{host}:{port}"}]))
    assert f"{host}:{port}" in the_line(second)
    assert first.get()[0] == 200


@pytest.mark.parametrize("case", ["missing", "not a certificate", "another key"])
def test_certificate_that_cannot_be_used_is_refused(stage: Stage, case: str) -> None:
    authority = trustme.CA()
    certificate, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    chain, key = stage.folder / "chain.pem", stage.folder / "key.pem"
    chain.write_bytes(certificate.cert_chain_pems[0].bytes())
    key.write_bytes((other if case == "another key" else certificate).private_key_pem.bytes())
    if case == "missing":
        chain.unlink()
    elif case == "not a certificate":
        chain.write_text("nothing of the kind")
    listen = [{"address": "127.0.0.1:0", "tls": {"certificate": str(chain), "key": str(key)}}]
    assert str(chain) in the_line(stage.gateway(document(UPSTREAMS, listen=listen)))


def test_access_log_that_cannot_be_written_is_refused(stage: Stage) -> None:
    path = stage.folder / "no" / "access.log"
    line = the_line(stage.gateway(document(UPSTREAMS, access_log={"path": str(path)})))
    assert "access_log.path" in line
    assert str(path) in line


def test_state_folder_that_cannot_be_made_is_refused(stage: Stage) -> None:
    (stage.folder / "file").write_text("")
    gateway = stage.gateway(document(UPSTREAMS, state=str(stage.folder / "file" / "state")))
    assert str(stage.folder / "file" / "state") in the_line(gateway)


def test_state_folder_of_another_gateway_is_refused_and_left_alone(stage: Stage) -> None:
    first = stage.running({"blue": stage.origin().url})
    token = (first.state / "admin.token").read_text()
    line = the_line(stage.gateway(document(UPSTREAMS, state=str(first.state))))
    assert str(first.state) in line
    assert "another gateway" in line
    assert (first.state / "admin.token").read_text() == token
    assert first.status()["workers"][0]["ready"]


def test_gateway_starts_again_with_what_it_left_after_its_mistake_is_mended(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url})
    gateway.cutback(reason="kept")
    assert gateway.stop() == 0
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace("blue", "bleu", 1))
    refused(gateway)
    gateway.config.write_text(good)
    gateway.start()
    assert gateway.route()["cutback"]["reason"] == "kept"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_the_start_ends_it(stage: Stage, number: signal.Signals) -> None:
    gateway = stage.gateway(document({"blue": stage.origin().url}))
    gateway.launch()
    gateway.until(lambda: "headgate: supervisor" in gateway.by_title(), "the supervisor runs")
    gateway.until(lambda: len(gateway.by_title()) > 1, "it has started a child")
    gateway.signal(number)
    assert gateway.end() == 0
