"""Where clients come in, and how, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from routing import notation
from routing.config_types import Count, ListenAddress, Text, Truth, listed, once

MinVersion = Annotated[Literal["1.2", "1.3"], once(notation.text_of)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class CertificateFiles(Model):
    certificate: Text
    key: Text


class ServerTls(CertificateFiles):
    min_version: MinVersion = "1.2"


class ListenTls(Model):
    """Either one certificate with its key, or a list; `pairs` are both forms alike. `client_certificate` is required unless it
    says otherwise, where there is a `client_ca`."""

    certificate: Text | None = None
    key: Text | None = None
    certificates: Annotated[tuple[CertificateFiles, ...] | None, once(listed)] = None
    min_version: MinVersion = "1.2"
    hsts: Count = 0
    client_ca: Text | None = None
    client_certificate: Literal["required", "optional"] | None = None

    @property
    def pairs(self) -> tuple[CertificateFiles, ...]:
        if self.certificates is not None:
            return self.certificates
        assert self.certificate is not None
        assert self.key is not None
        return (CertificateFiles(certificate=self.certificate, key=self.key),)


def _redirect(value: object) -> str:
    text = notation.text_of(value)
    scheme, colon, port = text.partition(":")
    if scheme != "https" or (colon and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536)):
        raise ValueError("must be https, or https:PORT")
    return text


def redirect_port(redirect: str | None) -> int:
    """0 for none."""
    return 0 if redirect is None else int(redirect.partition(":")[2] or 443)


class Listen(Model):
    address: ListenAddress
    proxy_protocol: Truth = False
    redirect: Annotated[str, once(_redirect)] | None = None
    tls: ListenTls | None = None
