"""Where the credentials for a bucket come from: the same environment and files as for the provider's own tools.

obstore itself reads the keys in the environment, Google's application default credentials, and the roles of containers
and machines. This module adds what obstore does not read: the profiles of AWS, and the variables of Azure's command line.
"""

import configparser
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..frozen import frozen
from ..installation import format_install_command
from ..text import quote_name

if TYPE_CHECKING:
    from obstore.store import S3Credential

#: Variables that win over a profile, and those over which a profile wins; obstore reads both.
_FIRST_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
_LAST_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
#: The keys of a profile whose credentials must be requested.
_REQUEST_KEYS = (
    "sso_session",
    "sso_start_url",
    "role_arn",
    "credential_process",
    "login_session",
    "web_identity_token_file",
)
#: Variables of Azure's command line, by obstore's name for the setting.
_AZURE_NAMES = {"account_name": "AZURE_STORAGE_ACCOUNT", "account_key": "AZURE_STORAGE_KEY"}
_AZURE_CONNECTION = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}
_AZURE_SECRETS = (
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_SAS_KEY"),
    *("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN", "AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"),
    *("AZURE_SKIP_SIGNATURE", "AZURE_USE_AZURE_CLI", "AZURE_STORAGE_USE_EMULATOR"),
)
#: Variables in which obstore finds Google's credentials.
_GOOGLE_VARIABLES = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"),
    *("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN", "GOOGLE_SKIP_SIGNATURE"),
)
#: The metadata service of a machine in a cloud, which provides the credentials of its role, and seconds to connect to it.
_METADATA_URL, _METADATA_TIMEOUT = "http://169.254.169.254", 1.0
#: Seconds for a command that prints credentials, and how long credentials without an expiration time are used.
_COMMAND_TIMEOUT, _DEFAULT_LIFETIME = 60.0, timedelta(minutes=15)


@frozen
class StorageProvider:
    """The environment variables of a provider, and its hint.

    Attributes:
        endpoint_variables: contain the URL of a compatible server; the first one that is set applies.
        http_variable: allows an endpoint without TLS.
        sign_in: the hint how to get credentials.
    """

    endpoint_variables: tuple[str, ...]
    http_variable: str
    sign_in: str


PROVIDERS = {
    "s3": StorageProvider(
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "AWS_ALLOW_HTTP",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket, AWS_SKIP_SIGNATURE=true",
    ),
    "gs": StorageProvider(
        ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
        "GOOGLE_ALLOW_HTTP",
        "Run: gcloud auth application-default login; for a public bucket, set GOOGLE_SKIP_SIGNATURE=true",
    ),
    "az": StorageProvider(
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "AZURE_ALLOW_HTTP",
        "Set AZURE_STORAGE_ACCOUNT, and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; or run: az login",
    ),
}


@frozen
class Access:
    """Settings and credentials that obstore does not find by itself.

    Attributes:
        config: settings, by obstore's names.
        request: returns credentials that expire; ``None`` if they are in ``config``, or obstore requests them.
        sign_in: the hint how to renew them; ``None`` for that of the provider.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    request: "Callable[[], S3Credential] | None" = None
    sign_in: str | None = None


def find_access(scheme: str, environment: Mapping[str, str]) -> Access:
    """The credentials and settings for the storage of a provider.

    Raises:
        ConfigError: there are no credentials, or the command or library that requests them is missing.
    """
    if scheme == "s3":
        return _find_aws_access(environment)
    return Access(_find_azure_config(environment) if scheme == "az" else _find_google_config(environment))


def _find_aws_access(environment: Mapping[str, str]) -> Access:
    name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    profile = _read_profile(name or "default", environment)
    config = {}
    if not (environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")) and profile.get("region"):
        config["region"] = profile["region"]
    if profile.get("endpoint_url"):
        config["endpoint"] = profile["endpoint_url"]
    if _is_true(environment.get("AWS_SKIP_SIGNATURE")):
        return Access({**config, "skip_signature": True})
    if any(map(environment.get, _FIRST_VARIABLES)):
        return Access(config)
    if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key"):
        keys = {"access_key_id": profile["aws_access_key_id"], "secret_access_key": profile["aws_secret_access_key"]}
        if profile.get("aws_session_token"):
            keys["session_token"] = profile["aws_session_token"]
        return Access({**config, **keys})
    if any(map(profile.get, _REQUEST_KEYS)):
        name = name or "default"
        return Access(config, _find_requester(name), f"Run: aws sso login --profile {quote_name(name)}")
    if name and not profile:
        raise ConfigError(
            f"there is no AWS profile {name}",
            hint=f"Run: aws configure --profile {quote_name(name)}",
            code="credentials",
        )
    if not any(map(environment.get, _LAST_VARIABLES)):
        url = environment.get("AWS_METADATA_ENDPOINT") or _METADATA_URL
        _require_metadata_service("s3", None if _is_true(environment.get("AWS_EC2_METADATA_DISABLED")) else url)
    return Access(config)


def _require_metadata_service(scheme: str, url: str | None) -> None:
    """Check, within a second, that this machine has the metadata service, which provides the credentials of its role.

    Args:
        url: of the service; ``None`` if it must not be used.

    Raises:
        ConfigError: it does not, so there are no credentials.
    """
    parts = urlsplit(url or "")
    try:
        if parts.hostname:
            socket.create_connection((parts.hostname, parts.port or 80), _METADATA_TIMEOUT).close()
            return
    except (OSError, ValueError):
        pass
    raise ConfigError(
        f"there are no credentials for {scheme}:// URLs", hint=PROVIDERS[scheme].sign_in, code="credentials"
    )


def _read_profile(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The keys of an AWS profile, from both files; those of ``credentials`` win."""
    paths = {
        environment.get("AWS_CONFIG_FILE") or "~/.aws/config": name if name == "default" else f"profile {name}",
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials": name,
    }
    keys: dict[str, str] = {}
    for path, section in paths.items():
        parser = configparser.RawConfigParser(strict=False, default_section="")
        try:
            parser.read(os.path.expanduser(path), "utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid: {str(error).splitlines()[0]}", hint="Correct it.") from error
        if parser.has_section(section):
            keys.update(parser.items(section))
    return keys


def _find_requester(profile: str) -> "Callable[[], S3Credential]":
    """Find what can request the credentials of a profile: ``boto3``, or the command ``aws``."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # imports boto3
    except ImportError as error:
        if shutil.which("aws") is None:
            raise ConfigError(
                f"the AWS profile {profile} requests its credentials, for which boto3 or the command aws is needed",
                hint=f"Run: {format_install_command('boto3')}",
                code="credentials",
            ) from error
        return _AwsCommand(profile)
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return Boto3CredentialProvider(boto3.Session(profile_name=profile))
    except (BotoCoreError, ValueError) as error:
        hint = f"To see the problem, run: aws sts get-caller-identity --profile {quote_name(profile)}"
        message = f"the AWS profile {profile} cannot be used: {error}"
        raise ConfigError(message, hint=hint, code="credentials") from error


@frozen
class _AwsCommand:
    """Requests credentials with the command ``aws``, which supports all kinds of profiles."""

    profile: str

    def __call__(self) -> "S3Credential":
        """Return credentials with their expiration time."""
        command = ["aws", "configure", "export-credentials", "--profile", self.profile, "--format", "process"]
        result = subprocess.run(command, capture_output=True, timeout=_COMMAND_TIMEOUT, check=True)  # noqa: S603  # a fixed command
        answer = json.loads(result.stdout)
        expires_at = datetime.now(UTC) + _DEFAULT_LIFETIME
        if answer.get("Expiration"):
            expires_at = datetime.fromisoformat(answer["Expiration"])
        return {
            "access_key_id": answer["AccessKeyId"],
            "secret_access_key": answer["SecretAccessKey"],
            "token": answer.get("SessionToken"),
            "expires_at": expires_at,
        }


def _find_azure_config(environment: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {name: environment[key] for name, key in _AZURE_NAMES.items() if environment.get(key)}
    for part in environment.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"):
        key, _, value = part.partition("=")
        if key in _AZURE_CONNECTION:
            config[_AZURE_CONNECTION[key]] = value
    if not any(map(environment.get, _AZURE_SECRETS)) and not config.keys() & {"account_key", "sas_key"}:
        if shutil.which("az"):
            config["use_azure_cli"] = True
        else:
            _require_metadata_service("az", environment.get("IDENTITY_ENDPOINT") or _METADATA_URL)
    return config


def _find_google_config(environment: Mapping[str, str]) -> dict[str, Any]:
    if environment.get("STORAGE_EMULATOR_HOST"):  # Google's own tools send nothing secret to an emulator
        return {"bearer_token": "emulator"}
    if any(map(environment.get, _GOOGLE_VARIABLES)):
        return {}
    path = os.path.join(_find_google_folder(environment), "application_default_credentials.json")
    if os.path.exists(path):
        return {"application_credentials": path}
    _require_metadata_service("gs", f"http://{environment.get('GCE_METADATA_HOST') or '169.254.169.254'}")
    return {}


def _find_google_folder(environment: Mapping[str, str]) -> str:
    """The folder where Google's command line keeps its settings."""
    if environment.get("CLOUDSDK_CONFIG"):
        return environment["CLOUDSDK_CONFIG"]
    if environment.get("APPDATA"):
        return os.path.join(environment["APPDATA"], "gcloud")
    return os.path.expanduser("~/.config/gcloud")


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in {"true", "1", "yes", "on"}
