"""What a client's certificate says, for rules and as a header."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.client_certificate import distinguished_name, forwarded_line, identity_of
from routing.request import ClientCertificate

HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing


def certificate(*names: tuple[str, str], **subject: str) -> dict[str, Any]:
    return {"subject": tuple(((key, value),) for key, value in subject.items()), "subjectAltName": names}


def test_identity_is_the_common_name_and_the_dns_names_and_uris() -> None:
    names = (("DNS", "a.example"), ("URI", "spiffe://shop/a"), ("IP Address", "192.0.2.1"), ("email", "a@b"))
    verified = certificate(*names, organizationName="Shop", commonName="orders")
    assert identity_of(verified) == ClientCertificate("orders", ("a.example", "spiffe://shop/a"))
    assert identity_of({}) == ClientCertificate("", ())


def test_header_has_envoys_form() -> None:
    names = (("DNS", "a.example"), ("URI", "spiffe://shop/a"), ("DNS", "b.example"))
    verified = certificate(*names, countryName="DE", organizationName="Shop", commonName="orders")
    line = f'X-Forwarded-Client-Cert: Hash={HASH};Subject="CN=orders,O=Shop,C=DE";URI=spiffe://shop/a;DNS=a.example;DNS=b.example'
    assert forwarded_line(verified, b"") == line.encode()


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ('a"b', 'a\\"b'),
        ("a,b;c=d+e<f>\\", "a\\,b\\;c\\=d\\+e\\<f\\>\\\\"),
        ("é", "\\C3\\A9"),
        ("a\r\nX-Evil: 1", "a\\0D\\0AX-Evil: 1"),
        (" a ", "\\ a\\ "),
        (" ", "\\ "),
        ("#a", "\\#a"),
        ("", ""),
    ],
)
def test_subject_is_written_as_in_rfc_4514(value: str, escaped: str) -> None:
    assert distinguished_name(((("commonName", value),),)) == f"CN={escaped}"


def test_several_names_of_one_part_are_joined_and_unknown_ones_stay() -> None:
    subject = ((("organizationName", "a"),), (("commonName", "b"), ("serialNumber", "c")))
    assert distinguished_name(subject) == "CN=b+serialNumber=c,O=a"


@given(st.text(), st.text(), st.text())
def test_no_certificate_can_add_a_part_or_a_line(common: str, uri: str, dns: str) -> None:
    line = forwarded_line(certificate(("URI", uri), ("DNS", dns), commonName=common), b"").decode("ascii")
    assert line.isprintable()
    name, _, value = line.partition(": ")
    assert name == "X-Forwarded-Client-Cert"
    inside, subject, rest = False, "", []
    head, _, quoted = value.partition(';Subject="CN=')
    assert head == f"Hash={HASH}"
    while True:  # as a reader does: a backslash takes the next character along
        character, quoted = quoted[0], quoted[1:]
        if character == '"':
            break
        if character == "\\":
            character, quoted = quoted[0], quoted[1:]
        subject += character
        inside = True
    assert inside is bool(common)
    rest = quoted.split(";")
    assert [part.partition("=")[0] for part in rest] == ["", "URI", "DNS"]
