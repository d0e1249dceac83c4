"""The connection to a bucket: its URL, the endpoint, and timeouts. Nothing is requested here."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from .. import __version__
from ..errors import ConfigError
from ..frozen import frozen
from ..urls import is_this_machine
from .credentials import PROVIDERS, Access, find_access
from .errors import BucketDetails

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

    from .folder import StorageOptions

_URL = re.compile(r"(s3|gs|az)://([^/]*)(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{1,221}")
#: Seconds to connect, and for a whole request: a large list is read as it is needed, which may take as long as the run.
_CONNECT_TIMEOUT, _WHOLE_TIMEOUT = 10.0, 7 * 86_400.0
#: Seconds before the first retry, at most before others, and for all attempts: a signature expires after five minutes.
_FIRST_WAIT, _LONGEST_WAIT, _RETRY_SECONDS = 0.2, 10.0, 240.0


@frozen
class BucketUrl:
    """The parts of the URL of a folder in a bucket.

    Attributes:
        key: the name of the folder in the bucket, which ends with a slash; empty for the bucket itself.
    """

    scheme: str
    bucket: str
    key: str

    @property
    def bucket_url(self) -> str:
        """The URL of the bucket."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def folder_url(self) -> str:
        """The URL of the folder, which ends with a slash."""
        return f"{self.bucket_url}/{self.key}"


def parse_url(url: str) -> BucketUrl:
    """Parse the URL of a folder in a bucket.

    The name of the folder is not percent-encoded, as in the tools of the providers.

    Raises:
        ConfigError: it has no bucket, or an empty folder name, ``.`` or ``..``.
    """
    match = _URL.fullmatch(url)
    if match is None or not _BUCKET.fullmatch(match[2]):
        raise ConfigError(f"{url} does not name a bucket", hint="It looks like this: s3://bucket/photos/", code="url")
    key = (match[3] or "").strip("/")
    if any(part in {"", ".", ".."} for part in key.split("/")) and key:
        raise ConfigError(f"{url} contains an empty folder name, . or ..", hint="Leave it out.", code="url")
    return BucketUrl(match[1].lower(), match[2], f"{key}/" if key else "")


def open_store(
    url: BucketUrl, options: "StorageOptions", environment: Mapping[str, str] = os.environ
) -> tuple[S3Store | GCSStore | AzureStore, BucketDetails]:
    """Open a bucket; return the connection, and the details for messages.

    Raises:
        ConfigError: the endpoint or the credentials cannot be used.
    """
    provider, access = PROVIDERS[url.scheme], find_access(url.scheme, environment)
    config = dict(access.config)
    for name in provider.endpoint_variables:
        if environment.get(name):
            config["endpoint"] = environment[name]
            break
    endpoint = config.get("endpoint")
    bucket = BucketDetails(url.bucket_url, url.bucket, endpoint, access.sign_in or provider.sign_in)
    client = _build_client_options(options, environment)
    if endpoint is not None:
        config["endpoint"] = endpoint = _complete_endpoint(endpoint)
        client |= _check_endpoint(endpoint, provider.http_variable, environment)
    retry: RetryConfig = {
        "max_retries": options.retries,
        "retry_timeout": timedelta(seconds=min(options.max_seconds or _RETRY_SECONDS, _RETRY_SECONDS)),
        "backoff": {
            "init_backoff": timedelta(seconds=_FIRST_WAIT),
            "max_backoff": timedelta(seconds=_LONGEST_WAIT),
            "base": 2,
        },
    }
    common = {"client_options": client, "retry_config": retry}
    try:
        return _make_store(url, config, access, common), bucket
    except (ValueError, BaseError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"cannot open {bucket.url}: {reason}", hint=provider.sign_in, code="credentials") from error


def _make_store(url: BucketUrl, config: Any, access: Access, common: Any) -> S3Store | GCSStore | AzureStore:
    match url.scheme:
        case "s3":
            return S3Store(url.bucket, config=config, credential_provider=access.request, **common)
        case "gs":
            if "endpoint" in config:
                config["base_url"] = config.pop("endpoint")
            return GCSStore(url.bucket, config=config, **common)
        case _:
            return AzureStore(url.bucket, config=config, **common)


def _build_client_options(options: "StorageOptions", environment: Mapping[str, str]) -> "ClientConfig":
    client: ClientConfig = {
        "allow_http": False,
        "connect_timeout": timedelta(
            seconds=min(options.timeout, _CONNECT_TIMEOUT, options.max_seconds or _CONNECT_TIMEOUT)
        ),
        "read_timeout": timedelta(seconds=options.timeout),
        "timeout": timedelta(seconds=options.max_seconds or _WHOLE_TIMEOUT),
        "user_agent": f"qvision/{__version__}",
    }
    path = environment.get("AWS_CA_BUNDLE") or environment.get("SSL_CERT_FILE")
    if path:
        try:
            with open(path, "rb") as file:
                client["root_certificate"] = file.read()
        except OSError as error:
            raise ConfigError(
                f"cannot read the certificates in {path}: {error.strerror}", hint="Check SSL_CERT_FILE."
            ) from error
    return client


def _complete_endpoint(endpoint: str) -> str:
    """Add ``http://`` if there is no scheme, as in the variable of Google's emulator, and remove slashes at the end."""
    return re.sub(r"(?<=[^/:])/+\Z", "", endpoint) if "://" in endpoint else f"http://{endpoint}"


def _check_endpoint(endpoint: str, http_variable: str, environment: Mapping[str, str]) -> "ClientConfig":
    """The options for the connection to a server that the user has set.

    Raises:
        ConfigError: it is not a URL, or that of another machine without TLS.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.netloc):
        raise ConfigError(
            f"{endpoint} is not the URL of a server", hint="It looks like this: https://minio.example.com:9000"
        )
    is_local = is_this_machine(endpoint)
    if parts.scheme == "http" and not is_local and environment.get(http_variable, "").lower() not in {"true", "1"}:
        raise ConfigError(
            f"{endpoint} is not encrypted: others could read the images and the credentials",
            hint=f"Use https://, or in a network that you trust, set {http_variable}=true",
        )
    client: ClientConfig = {"allow_http": parts.scheme == "http"}
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if is_local and proxy:  # this machine is reached without a proxy
        client |= {"proxy_url": proxy, "proxy_excludes": f"{parts.hostname},{proxies.get('no', '')}"}
    return client
