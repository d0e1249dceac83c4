"""Which certificate authorities are trusted, in which order."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from qubrid_cli import certificates

from .conftest import Ask
from .support.server import Server


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def hashed_folder(folder: Path, certificate: Path) -> Path:
    """A folder as OpenSSL searches it: each file is named after the hash of its subject."""
    folder.mkdir()
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificate], capture_output=True, text=True, check=True
    ).stdout.strip()
    shutil.copy(certificate, folder / f"{name}.0")
    return folder


def test_an_authority_in_a_folder_of_hashed_files_is_trusted(
    describe: Ask, lighthouse: Path, server_context: ssl.SSLContext, tmp_path: Path
) -> None:
    folder = hashed_folder(tmp_path / "certs", tmp_path / "ca.pem")
    with Server(server_context) as server:
        env = {"QUBRID_BASE_URL": server.url, "SSL_CERT_DIR": str(folder), "SSL_CERT_FILE": ""}
        assert describe(lighthouse, env=env).exit_code == 0


@pytest.mark.usefixtures("authority")
def test_a_file_and_a_folder_of_the_environment_count_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = trustme.CA()
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed_folder(tmp_path / "certs", tmp_path / "ca.pem")))
    assert certificates._build_context().get_ca_certs()
    assert certificates.describe_source() == (
        f"SSL_CERT_FILE ({tmp_path / 'other.pem'}) and SSL_CERT_DIR ({tmp_path / 'certs'})"
    )


def find_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where the certificates come from on a system whose only places are in ``tmp_path``."""
    paths = ssl.get_default_verify_paths()._replace(cafile="", capath="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(certificates, "_FOLDERS", (str(tmp_path / "certs"),))
    monkeypatch.setattr(certificates, "_BUNDLES", (str(tmp_path / "bundle.pem"),))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    return certificates.describe_source()


@pytest.mark.parametrize("stores", [["folder", "bundle"], ["folder"], ["bundle"], []], ids=" ".join)
@pytest.mark.usefixtures("authority")
def test_the_systems_folder_comes_first_then_its_bundle_then_certifi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stores: list[str]
) -> None:
    if "folder" in stores:
        hashed_folder(tmp_path / "certs", tmp_path / "ca.pem")
    else:
        (tmp_path / "certs").mkdir()  # without a file that OpenSSL would find
        (tmp_path / "certs" / "README").touch()
    if "bundle" in stores:
        shutil.copy(tmp_path / "ca.pem", tmp_path / "bundle.pem")
    sources = {"folder": str(tmp_path / "certs"), "bundle": str(tmp_path / "bundle.pem")}
    expected = next((source for kind, source in sources.items() if kind in stores), "certifi")
    assert find_store(monkeypatch, tmp_path) == expected
    assert certificates._build_context().verify_mode is ssl.CERT_REQUIRED


def test_a_file_that_cannot_be_read_is_reported(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    run = describe(
        lighthouse, env={"QUBRID_BASE_URL": "https://127.0.0.1:1/v1", "SSL_CERT_FILE": str(tmp_path / "nope.pem")}
    )
    assert run.exit_code == 3
    assert "error: the certificates cannot be read" in run.stderr
    assert "SSL_CERT_FILE" in run.stderr
