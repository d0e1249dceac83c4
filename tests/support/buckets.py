"""A real S3-compatible server on loopback, which honors conditional requests."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

_numbers = count(1)
_requests: list[str] = []
_ranges: list[str] = []


@dataclass(frozen=True)
class Bucket:
    """An empty bucket; ``env`` are the variables by which programs reach it."""

    name: str
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def requests(self) -> list[str]:
        """The requests about objects of the bucket so far: method and name."""
        start = f" /{self.name}/"
        return [request.replace(start, " ") for request in _requests if start in request]

    @property
    def ranges(self) -> list[range]:
        """The positions of the bytes that were requested of a part of an object, of any bucket so far."""
        return [range(int(start), int(end) + 1) for start, end in (text[6:].split("-") for text in _ranges)]


@cache
def start_server() -> str:
    """Start the server, which ends with this process, and return its URL."""
    # Loading them takes a second, which each process that collects tests would spend.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    application = DomainDispatcherApplication(create_backend_app)

    def record_request(environ: dict[str, Any], start_response: Any) -> Any:
        _requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if "HTTP_RANGE" in environ:
            _ranges.append(environ["HTTP_RANGE"])
        return application(environ, start_response)

    server = make_server("127.0.0.1", 0, record_request, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def make_bucket(name: str | None = None, objects: Mapping[str, bytes] = {}) -> Bucket:
    """A bucket of its own for a test, with some objects in it."""
    name, url = name or f"bucket-{next(_numbers)}", start_server()
    opener = build_opener(ProxyHandler({}))
    opener.open(Request(f"{url}/{name}", method="PUT")).close()
    for key, data in objects.items():
        headers = {"Content-Type": "application/octet-stream"}
        opener.open(Request(f"{url}/{name}/{quote(key)}", data, headers, method="PUT")).close()
    return Bucket(name, environment_for(url))


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
