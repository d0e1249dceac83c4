"""Credentials come from the same environment and files as for the provider's own tools."""

import sys
from pathlib import Path

import pytest

from qubrid_cli.errors import ConfigError
from qubrid_cli.storage.credentials import find_access

CONFIG = """
[default]
region = eu-west-1
aws_access_key_id = default-key
aws_secret_access_key = default-secret
[profile minio]
endpoint_url = https://minio.example.com
[profile session]
region = eu-west-3
sso_session = work
"""
CREDENTIALS = """
[minio]
aws_access_key_id = minio-key
aws_secret_access_key = minio-secret
aws_session_token = minio-token
"""
DEFAULT_KEYS = {"access_key_id": "default-key", "secret_access_key": "default-secret"}
MINIO_KEYS = {"access_key_id": "minio-key", "secret_access_key": "minio-secret", "session_token": "minio-token"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The variables that lead to two files of AWS's tools."""
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({}, {"region": "eu-west-1", **DEFAULT_KEYS}),
        ({"AWS_REGION": "us-west-2"}, DEFAULT_KEYS),
        ({"AWS_PROFILE": "minio"}, {"endpoint": "https://minio.example.com", **MINIO_KEYS}),
        ({"AWS_PROFILE": "minio", "AWS_ACCESS_KEY_ID": "mine"}, {"endpoint": "https://minio.example.com"}),
        ({"AWS_SKIP_SIGNATURE": "true"}, {"region": "eu-west-1", "skip_signature": True}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "token"}, {"region": "eu-west-1"}),
    ],
)
def test_a_profile_adds_what_the_environment_lacks(
    environment: dict[str, str], config: dict[str, object], files: dict[str, str]
) -> None:
    access = find_access("s3", {**files, **environment})
    assert (dict(access.config), access.request) == (config, None)


def test_the_command_of_aws_provides_the_credentials_of_a_session(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = tmp_path / "aws"
    aws.write_text(
        '#!/bin/sh\nprintf \'{"AccessKeyId": "%s", "SecretAccessKey": "s", "SessionToken": "t", '
        '"Expiration": "2030-01-01T00:00:00Z"}\' "$4"\n'
    )
    aws.chmod(0o755)
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    access = find_access("s3", {**files, "AWS_PROFILE": "session"})
    assert access.request is not None
    credential = access.request()
    assert (credential["access_key_id"], credential["expires_at"].year) == ("session", 2030)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AWS_PROFILE": "other"}, "there is no AWS profile other"),
        ({"AWS_PROFILE": "session"}, "for which boto3 or the command aws is needed"),
        ({"AWS_CONFIG_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true"}, "there are no credentials for s3"),
        ({"AWS_CONFIG_FILE": "/nowhere", "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"}, "there are no credentials"),
    ],
)
def test_missing_credentials_are_explained(
    environment: dict[str, str], message: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=message) as caught:
        find_access("s3", {**files, **environment})
    assert caught.value.hint is not None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("no section\n")
    with pytest.raises(ConfigError, match="config is not valid"):
        find_access("s3", {"AWS_CONFIG_FILE": str(tmp_path / "config")})


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({"AZURE_STORAGE_ACCOUNT": "me", "AZURE_STORAGE_KEY": "k"}, {"account_name": "me", "account_key": "k"}),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=me;AccountKey=k==;BlobEndpoint=https://az.example.com"},
            {"account_name": "me", "account_key": "k==", "endpoint": "https://az.example.com"},
        ),
    ],
)
def test_the_variables_of_azure_are_read(environment: dict[str, str], config: dict[str, str]) -> None:
    assert find_access("az", environment).config == config


@pytest.mark.parametrize("variable", ["CLOUDSDK_CONFIG", "APPDATA"])
def test_the_credentials_of_the_command_line_of_google_are_found(variable: str, tmp_path: Path) -> None:
    folder = tmp_path / "gcloud"
    folder.mkdir()
    (folder / "application_default_credentials.json").write_text("{}")
    variables = {variable: str(folder if variable == "CLOUDSDK_CONFIG" else tmp_path)}
    assert find_access("gs", variables).config == {
        "application_credentials": str(folder / "application_default_credentials.json")
    }


@pytest.mark.parametrize(
    ("scheme", "environment"),
    [
        ("gs", {"CLOUDSDK_CONFIG": "/nowhere", "GCE_METADATA_HOST": "127.0.0.1:9"}),
        ("az", {"IDENTITY_ENDPOINT": "http://127.0.0.1:9/"}),
    ],
)
def test_a_machine_without_a_role_has_no_credentials(
    scheme: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=f"there are no credentials for {scheme}:// URLs"):
        find_access(scheme, environment)


def test_an_emulator_of_google_needs_no_credentials() -> None:
    assert find_access("gs", {"STORAGE_EMULATOR_HOST": "localhost:9023"}).config == {"bearer_token": "emulator"}
