"""Where the admin API is and who may call it, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from routing import notation
from routing.config_listen import ServerTls
from routing.config_types import ListenAddress, Text, Truth, listed, once


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


Values = Annotated[tuple[Text, ...], once(listed)]


class OidcRoles(Model):
    """The values of the claim that give each role."""

    viewer: Values = ()
    operator: Values = ()
    admin: Values = ()


class Oidc(Model):
    """`jwks` is an address or a file; the claims are names, or dotted paths to them."""

    issuer: Text
    audience: Values
    jwks: Text
    role_claim: Text = "roles"
    roles: OidcRoles
    name_claim: Text = "sub"


class Admin(Model):
    address: ListenAddress = notation.Address("127.0.0.1", 9901)
    tls: ServerTls | None = None
    insecure: Truth = False
    oidc: Oidc | None = None
