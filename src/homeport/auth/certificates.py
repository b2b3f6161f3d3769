"""Certificates: explains those that cannot be used, and makes our own from a local authority.

The authority (``authority.pem``, ``authority.key``) and its leaf (``server.pem``, ``server.key``) live in a private folder. A
device that trusts the authority once goes on trusting every leaf. Serving TLS is the web edge's; this module only reads and
writes certificate files. Profiles follow RFC 5280 and the limits that browsers set: a leaf of at most 397 days with its
names in subjectAltName.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.errors import BadRequest
from homeport.folders import private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_DAY = datetime.timedelta(days=1)
_AUTHORITY_DAYS = 3650
_LEAF_DAYS = 397
_RENEW_DAYS = 30
_MAKE_ONE = (
    "openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=$(hostname) "
    '-addext "subjectAltName=DNS:$(hostname),IP:127.0.0.1" -keyout mykey.key -out mycert.pem'
)


class BadCertificate(BadRequest):
    """A certificate that cannot be served; the message says why and which command makes a right one."""

    code = "bad_certificate"


@dataclass(frozen=True)
class Served:
    """What a TLS server needs: PEM files."""

    certfile: Path
    keyfile: Path | None
    """None: the key is in ``certfile``."""
    fingerprint: str
    """SHA-256 of the certificate, upper-case hex pairs with colons, as browsers show it."""
    expires: datetime.datetime
    names: tuple[str, ...]
    """Host names and addresses that it is for, in its own order."""


def check_files(certfile: Path, keyfile: Path | None, *, now: datetime.datetime) -> Served:
    """Check that a certificate and its key can be served.

    Args:
        certfile: PEM; the chain after the leaf, and the key too when ``keyfile`` is None.
        keyfile: PEM, without a passphrase.
        now: the time in UTC, with its zone.

    Raises:
        BadCertificate: it is missing, expired, too weak, of another key, or no PEM at all.
    """
    for what, file in (("certificate", certfile), ("key", keyfile)):
        if file is not None:
            _readable(what, file)
    certificate = _read_leaf(certfile)
    if certificate.not_valid_after_utc < now:
        raise _bad(f"The certificate {certfile} expired on {certificate.not_valid_after_utc:%d %B %Y}")
    if certificate.not_valid_before_utc > now + _DAY:
        raise _bad(f"The certificate {certfile} is not valid before {certificate.not_valid_before_utc:%d %B %Y}")
    _load(certfile, keyfile)
    return Served(certfile, keyfile, fingerprint(certificate), certificate.not_valid_after_utc, tuple(_names_of(certificate)))


def _readable(what: str, file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except FileNotFoundError:
        raise _bad(f"There is no {what} file {file}") from None
    except OSError as error:
        raise _bad(f"The {what} file {file} cannot be read: {error.strerror}") from None


def _read_leaf(file: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (ValueError, IndexError):
        raise _bad(f"{file} holds no certificate in PEM form (a block that begins with -----BEGIN CERTIFICATE-----)") from None


def _load(certfile: Path, keyfile: Path | None) -> None:
    """Let OpenSSL, which will serve it, judge."""

    def no_passphrase() -> str:
        raise _bad(f"The key {keyfile or certfile} is locked with a passphrase; 'openssl pkey -in OLD -out NEW' writes one without")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certfile, keyfile, password=no_passphrase)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "KEY_VALUES_MISMATCH" in reason:
            raise _bad(f"The key {keyfile or certfile} is not the one of the certificate {certfile}") from None
        if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
            raise _bad(f"The key of {certfile} is too short (1,024 bits?): OpenSSL and browsers refuse it") from None
        where = keyfile or f"{certfile} (and no key file was named)"
        raise _bad(f"There is no usable private key in {where}: {reason or error}") from None


def _bad(what: str) -> BadCertificate:
    return BadCertificate(f"{what}. This makes a certificate and its key: {_MAKE_ONE}")


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate as browsers show it."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


class Authority:
    """A certificate authority of this user on this machine, made when first asked for.

    Args:
        folder: where its files live; made private.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certfile = folder / "authority.pem"
        """What a device has to trust."""

    def serve(self, names: Sequence[str], *, now: datetime.datetime) -> Served:
        """The leaf for this machine, made anew when there is none for ``names``, or it ends within a month.

        Args:
            names: host names and addresses, the main one first.
            now: the time in UTC, with its zone.

        Raises:
            OSError: the folder cannot be written.
        """
        certfile, keyfile = self._folder / "server.pem", self._folder / "server.key"
        with contextlib.suppress(BadCertificate):
            served = check_files(certfile, keyfile, now=now)
            leaf = _read_leaf(certfile)
            signed = self.certfile.exists() and _signed_by(leaf, _read_leaf(self.certfile))
            if signed and set(names) <= set(_names_of(leaf)) and served.expires - now > _RENEW_DAYS * _DAY:
                return served
        self._issue(names, certfile, keyfile, now)
        return check_files(certfile, keyfile, now=now)

    def current(self, names: Sequence[str], *, now: datetime.datetime) -> Served:
        """The leaf that there is, whatever its names; made for ``names`` when there is none that can be served.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            return check_files(self._folder / "server.pem", self._folder / "server.key", now=now)
        except BadCertificate:
            return self.serve(names, now=now)

    @property
    def fingerprint(self) -> str:
        """The authority's own; there is one once :meth:`serve` has been called."""
        return fingerprint(_read_leaf(self.certfile))

    def _issue(self, names: Sequence[str], certfile: Path, keyfile: Path, now: datetime.datetime) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import ExtendedKeyUsageOID

        issuer, issuer_key = self._authority(now)
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _builder(names[0], issuer.subject, key, now, _LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        # The key first: a certificate must never stand beside another's key for longer than a moment.
        _write(keyfile, _private_pem(key))
        _write(certfile, leaf.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM))

    def _authority(self, now: datetime.datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        import socket

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

        private(self._folder)
        keyfile = self._folder / "authority.key"
        if self.certfile.exists() and keyfile.exists():
            certificate = _read_leaf(self.certfile)
            key = load_pem_private_key(keyfile.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and certificate.not_valid_after_utc - now > _LEAF_DAYS * _DAY:
                return certificate, key
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"Homeport on {socket.gethostname()}"
        certificate = (
            _builder(name, _name(name), key, now, _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(keyfile, _private_pem(key))
        _write(self.certfile, certificate.public_bytes(Encoding.PEM))
        return certificate, key


def _builder(name: str, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime.datetime, days: int) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of laptops and servers differ.
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    # RFC 5280's upper bound of a common name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]


def _signed_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(file: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
