"""Certificates: what is wrong with one is said, and our own are such that clients accept them."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from homeport.auth.certificates import Authority, BadCertificate, check_files

NOW = datetime.datetime.now(datetime.UTC)
NAMES = ("localhost", "127.0.0.1", "::1")

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")


def openssl(folder: Path, *more: str, key: str = "rsa:2048", name: str = "cert") -> tuple[Path, Path]:
    certfile, keyfile = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        key,
        "-subj",
        "/CN=localhost",
        "-keyout",
        str(keyfile),
        "-out",
        str(certfile),
    ]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return certfile, keyfile


@needs_openssl
def test_two_files_or_one_with_both(tmp_path: Path) -> None:
    certfile, keyfile = openssl(tmp_path, "-days", "365")
    assert check_files(certfile, keyfile, now=NOW).expires > NOW
    both = tmp_path / "mycert.pem"
    both.write_bytes(keyfile.read_bytes() + certfile.read_bytes())
    assert check_files(both, None, now=NOW).fingerprint == check_files(certfile, keyfile, now=NOW).fingerprint


@needs_openssl
def test_what_is_wrong_is_said_with_a_command_that_helps(tmp_path: Path) -> None:
    certfile, keyfile = openssl(tmp_path)
    _, other = openssl(tmp_path, name="other")
    weak, weak_key = openssl(tmp_path, key="rsa:1024", name="weak")
    (tmp_path / "text.pem").write_text("hello")
    later = NOW + datetime.timedelta(days=40)
    for said, cert, key, now in [
        ("no certificate file", tmp_path / "none.pem", None, NOW),
        ("no key file", certfile, tmp_path / "none.key", NOW),
        ("holds no certificate", tmp_path / "text.pem", None, NOW),
        ("not the one of the certificate", certfile, other, NOW),
        ("no usable private key", certfile, None, NOW),
        ("too short", weak, weak_key, NOW),
        ("expired on", certfile, keyfile, later),
    ]:
        with pytest.raises(BadCertificate, match=said) as caught:
            check_files(cert, key, now=now)
        assert "openssl req -x509" in caught.value.message


def test_a_client_that_trusts_the_authority_gets_through_by_every_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    served = authority.serve(NAMES, now=NOW)
    assert (tmp_path / "tls").stat().st_mode & 0o077 == 0
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(served.certfile, served.keyfile)
    client = ssl.create_default_context(cafile=str(authority.certfile))
    for name in NAMES:
        near, far = socket.socketpair()
        thread = threading.Thread(target=lambda far=far: server.wrap_socket(far, server_side=True).close())
        thread.start()
        with client.wrap_socket(near, server_hostname=name) as link:
            assert link.version() == "TLSv1.3"
        thread.join()


def test_a_leaf_is_kept_until_it_ends_or_names_change_and_the_authority_stays(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.serve(NAMES, now=NOW)
    root = authority.certfile.read_bytes()
    assert authority.serve(NAMES, now=NOW + datetime.timedelta(days=300)) == first
    named = authority.serve((*NAMES, "box.example"), now=NOW)
    assert named.fingerprint != first.fingerprint
    assert authority.serve(NAMES, now=NOW) == named
    renewed = authority.serve(NAMES, now=NOW + datetime.timedelta(days=390))
    assert renewed.fingerprint != named.fingerprint
    assert authority.certfile.read_bytes() == root


def test_a_damaged_leaf_is_replaced(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.serve(NAMES, now=NOW)
    first.certfile.write_text("damaged")
    assert authority.serve(NAMES, now=NOW).fingerprint != first.fingerprint
