"""A real S3-compatible server on loopback, which honors conditional requests."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from urllib.request import ProxyHandler, Request, build_opener

from moto.server import ThreadedMotoServer

_numbers = count(1)


@dataclass(frozen=True)
class Bucket:
    """An empty bucket; ``env`` are the variables by which programs reach it."""

    name: str
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"s3://{self.name}"


@cache
def start_server() -> str:
    """Start the server, which ends with this process, and return its URL."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@contextmanager
def make_bucket() -> Iterator[Bucket]:
    """A bucket of its own for a test."""
    name, url = f"bucket-{next(_numbers)}", start_server()
    build_opener(ProxyHandler({})).open(Request(f"{url}/{name}", method="PUT")).close()
    yield Bucket(name, environment_for(url))


def environment_for(url: str) -> dict[str, str]:
    """The variables by which programs reach a server at a URL, whatever the machine has."""
    return {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
