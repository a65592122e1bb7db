"""Certificates of a listener: the names they are for, and which one a client is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from proxy.certificate_names import names_of_der, names_of_pem
from proxy.certificates import Certificates
from proxy.control import CertificateFiles, TlsSettings


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write(authority: trustme.CA, folder: Path, *names: str) -> CertificateFiles:
    certificate = authority.issue_cert(*names)
    chain, key = folder / f"{names[0]}.pem".replace("*", "any"), folder / f"{names[0]}.key".replace("*", "any")
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return CertificateFiles(str(chain), str(key), chain.read_bytes(), key.read_bytes())


def test_names_are_the_dns_names_of_the_first_certificate(authority: trustme.CA) -> None:
    certificate = authority.issue_cert("A.example", "*.b.example", "127.0.0.1")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems) + authority.cert_pem.bytes()
    assert names_of_pem(f"a remark\n{chain.decode()}") == ("a.example", "*.b.example")


def test_certificate_without_names_has_none(authority: trustme.CA) -> None:
    assert names_of_pem(authority.cert_pem.bytes().decode()) == ()


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nMIIB"])
def test_text_without_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        names_of_pem(text)


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x05\x30", b"\x30\x02\x30\x05", b"\x30\x84\xff\xff\xff\xff"])
def test_der_that_is_cut_short_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match="cut short"):
        names_of_der(der)


def test_name_chooses_whole_before_wildcard_before_the_first(authority: trustme.CA, tmp_path: Path) -> None:
    pairs = [
        write(authority, tmp_path, *names)
        for names in (("first.example",), ("*.shop.example",), ("www.shop.example", "a.b.shop.example"))
    ]
    certificates = Certificates(TlsSettings(tuple(pairs)))

    def chosen(name: str | None) -> str:
        return certificates.find(name).names[0]

    assert [chosen(name) for name in ("first.example", "x.shop.example", "www.shop.example", "WWW.Shop.Example")] == [
        "first.example",
        "*.shop.example",
        "www.shop.example",
        "www.shop.example",
    ]
    # A wildcard stands for one label, not for none and not for two (RFC 9525 section 6.3).
    for name in (None, "", "shop.example", "y.x.shop.example", "other.example", "*", "example"):
        assert chosen(name) == "first.example"
    assert chosen("a.b.shop.example") == "www.shop.example"


def test_first_of_two_for_one_name_serves_it(authority: trustme.CA, tmp_path: Path) -> None:
    pairs = (
        write(authority, tmp_path, "first.example", "twice.example"),
        write(authority, tmp_path, "b.example", "twice.example"),
    )
    assert Certificates(TlsSettings(pairs)).find("twice.example").names[0] == "first.example"


def test_replaced_pair_is_taken_up_and_a_broken_one_reported_once(authority: trustme.CA, tmp_path: Path) -> None:
    first, second = write(authority, tmp_path, "a.example"), write(authority, tmp_path, "b.example")
    certificates = Certificates(TlsSettings((first, second)))
    assert certificates.refresh() == []
    before = certificates.find("b.example").context
    renewed = authority.issue_cert("b.example", "c.example")
    Path(second.certificate).write_bytes(renewed.cert_chain_pems[0].bytes())
    (problem,) = certificates.refresh()
    assert problem.startswith(f"{second.certificate} with {second.key}: ")
    assert problem.endswith("the one from before stays in use")
    assert certificates.refresh() == []
    assert certificates.find("b.example").context is before
    Path(second.key).write_bytes(renewed.private_key_pem.bytes())
    assert certificates.refresh() == []
    assert certificates.find("c.example").context is certificates.find("b.example").context is not before
    assert certificates.find("a.example").names == ("a.example",)


def test_pair_that_is_broken_at_the_start_is_served_as_it_was_kept(authority: trustme.CA, tmp_path: Path) -> None:
    kept = write(authority, tmp_path, "a.example")
    Path(kept.certificate).write_text("no certificate")
    certificates = Certificates(TlsSettings((kept,)))
    (problem,) = certificates.refresh()
    assert problem.endswith("the one from the start is in use")
    assert certificates.find(None).names == ("a.example",)
