"""Where clients come in, and how, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from routing import notation
from routing.config_types import Count, ListenAddress, Text, listed, once

MinVersion = Annotated[Literal["1.2", "1.3"], once(notation.text_of)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class CertificateFiles(Model):
    certificate: Text
    key: Text


class ServerTls(CertificateFiles):
    min_version: MinVersion = "1.2"


class ListenTls(Model):
    """Either one certificate with its key, or a list; `pairs` are both forms alike."""

    certificate: Text | None = None
    key: Text | None = None
    certificates: Annotated[tuple[CertificateFiles, ...] | None, once(listed)] = None
    min_version: MinVersion = "1.2"
    hsts: Count = 0

    @property
    def pairs(self) -> tuple[CertificateFiles, ...]:
        if self.certificates is not None:
            return self.certificates
        assert self.certificate is not None
        assert self.key is not None
        return (CertificateFiles(certificate=self.certificate, key=self.key),)


class Listen(Model):
    address: ListenAddress
    tls: ListenTls | None = None
