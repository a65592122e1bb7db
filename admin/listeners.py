"""Listening sockets: one a listener and worker, opened once by the supervisor and handed down by descriptor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import ssl
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.certificates import names_in, server_context
from proxy.control import LISTEN_BACKLOG, CertificateFiles, ListenerSettings, TlsSettings
from routing.config import Config
from routing.config_listen import Listen, ListenTls, redirect_port


class ListenError(Exception):
    """An address that can't be listened on; the text is one line for a person."""


@dataclass(slots=True)
class WorkerSockets:
    """The sockets of one worker slot. They outlive the worker, so its accept queue is served by its replacement."""

    sockets: list[socket.socket]
    listeners: list[ListenerSettings]
    outlive_us: bool = False
    """They are the service manager's, who has others serve what waits in their queues."""

    def refuse_new(self) -> None:
        """Nobody joins the accept queues any more; who is in them, or in the midst of the handshake, is still served."""
        for sock in () if self.outlive_us else self.sockets:
            drop_handshakes(sock)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


# <linux/filter.h>, over the TCP header: load the byte of the flags; SYN without ACK is dropped, all else passes.
_SO_ATTACH_FILTER = 26
_FILTER = (
    (0x30, 0, 0, 13),  # BPF_LD | BPF_B | BPF_ABS
    (0x54, 0, 0, 0x12),  # BPF_ALU | BPF_AND | BPF_K
    (0x15, 0, 1, 0x02),  # BPF_JMP | BPF_JEQ | BPF_K
    (0x06, 0, 0, 0),  # BPF_RET
    (0x06, 0, 0, 0xFFFFFFFF),
)


def drop_handshakes(listening: socket.socket) -> None:
    """Ignore connections that begin from now on: the client asks again after a second, and is refused or finds another gateway.
    Between the last accept and the close of a listening socket there would otherwise always be one that is reset."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _FILTER))
    program = struct.pack("HP", len(_FILTER), ctypes.addressof(code))
    with contextlib.suppress(OSError):  # a kernel without socket filters
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def workers_of(config: Config) -> int:
    """The number of workers: as configured, or the CPUs this process may use, a container's quota counted."""
    if config.workers != "auto":
        return int(config.workers)
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass  # no cgroup v2, or "max"
    return cpus


def tls_problem(listen: Listen) -> str | None:
    """What is wrong with a listener's certificate files, with its place in `listen[N]`; or None."""
    if listen.tls is None:
        return None
    settings = TlsSettings((), listen.tls.min_version, client_ca=listen.tls.client_ca or "")
    for number, pair in enumerate(listen.tls.pairs):
        place = "tls" if listen.tls.certificates is None else f"tls.certificates[{number}]"
        files = CertificateFiles(pair.certificate, pair.key)
        try:
            server_context(files, settings)
            names = names_in(files)
        except (OSError, ssl.SSLError) as error:
            return f"{place}: cannot use certificate {pair.certificate} with key {pair.key}: {error}"
        if number and not names:
            return f"{place}: {pair.certificate} names no host (subjectAltName), so no client could be given it"
    return None


Addresses = list[list[tuple[str, int]]]
"""Of the sockets of each worker, in the order of `listen`."""


def kept_problem(config: Config, kept: Addresses) -> str | None:
    """Why an upgrade with this configuration can't go on with those sockets: closing one would reset who waits in its queue."""
    if workers_of(config) != len(kept) or any(len(addresses) != len(config.listen) for addresses in kept):
        return "listen, workers: an upgrade keeps them as they are; stop and start to change them"
    for addresses in kept:
        for number, (listen, (host, port)) in enumerate(zip(config.listen, addresses, strict=True)):
            if host != listen.address.host or listen.address.port not in (0, port):
                return f"listen[{number}]: an upgrade keeps {host}:{port}; stop and start to change it"
    return None


def keep_sockets(config: Config, kept: list[list[socket.socket]], *, outlive_us: bool) -> list[WorkerSockets]:
    """Those of before an upgrade, one list a worker. Raises ListenError."""
    problem = kept_problem(config, [[sock.getsockname()[:2] for sock in sockets] for sockets in kept])
    if problem is not None:
        raise ListenError(problem)
    return [
        WorkerSockets(
            sockets, [_settings(listen, sock) for listen, sock in zip(config.listen, sockets, strict=True)], outlive_us
        )
        for sockets in kept
    ]


def open_sockets(config: Config, workers: int) -> list[WorkerSockets]:
    """Raises ListenError naming the address. A port of 0 is chosen once and then the same for all workers."""
    slots = [WorkerSockets([], []) for _ in range(workers)]
    try:
        for number, listen in enumerate(config.listen):
            port = listen.address.port
            for slot in slots:
                try:
                    if slot is slots[0]:
                        _refuse_if_taken(listen.address.host, port)
                    sock = _open(listen.address.host, port)
                except OSError as error:
                    raise ListenError(
                        f"listen[{number}]: cannot listen on {listen.address}: {error.strerror}"
                    ) from error
                slot.sockets.append(sock)
                port = sock.getsockname()[1]
                slot.listeners.append(_settings(listen, sock))
    except ListenError:
        for slot in slots:
            slot.close()
        raise
    return slots


def adopt_sockets(config: Config, workers: int, inherited: list[socket.socket]) -> list[WorkerSockets]:
    """The service manager's sockets, each for the listener of its address and shared by all workers. Raises ListenError unless
    every one has its listener, and every listener has one."""
    by_address = {sock.getsockname()[:2]: sock for sock in inherited}
    slots = [WorkerSockets([], [], outlive_us=True) for _ in range(workers)]
    for number, listen in enumerate(config.listen):
        sock = by_address.pop((listen.address.host, listen.address.port), None)
        if sock is None:
            raise ListenError(
                f"listen[{number}]: the service manager has handed over sockets, but none for {listen.address}"
            )
        sock.setblocking(False)
        for slot in slots:
            own = sock.dup()
            slot.sockets.append(own)
            slot.listeners.append(_settings(listen, own))
        sock.close()
    if by_address:
        host, port = next(iter(by_address))
        raise ListenError(f"listen: the service manager has handed over a socket for {host}:{port}, which is not there")
    return slots


def addresses_of(slots: list[WorkerSockets]) -> tuple[str, ...]:
    """Those listened on, in the order of `listen`, with the ports that were chosen; all workers have the same."""
    return tuple(listener.address for slot in slots[:1] for listener in slot.listeners)


def _settings(listen: Listen, sock: socket.socket) -> ListenerSettings:
    host, port = sock.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    settings = ListenerSettings(
        sock.fileno(), address, redirect=redirect_port(listen.redirect), proxied=listen.proxy_protocol
    )
    return settings if listen.tls is None else replace(settings, tls=_tls(listen.tls))


def _tls(tls: ListenTls) -> TlsSettings:
    certificates = tuple(
        CertificateFiles(pair.certificate, pair.key, Path(pair.certificate).read_bytes(), Path(pair.key).read_bytes())
        for pair in tls.pairs
    )
    settings = TlsSettings(certificates, tls.min_version, tls.hsts)
    if tls.client_ca is None:
        return settings
    required = tls.client_certificate != "optional"
    authorities = Path(tls.client_ca).read_bytes()
    return replace(settings, client_ca=tls.client_ca, client_ca_pem=authorities, client_required=required)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _refuse_if_taken(host: str, port: int) -> None:
    """SO_REUSEPORT would let two gateways of one user share a port in silence: bind once without it first."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _open(host: str, port: int) -> socket.socket:
    sock = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
