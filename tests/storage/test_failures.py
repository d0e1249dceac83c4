"""What a user reads when a bucket cannot be used: a sentence, a hint, and an exit code."""

import asyncio
import sys
from collections.abc import Callable
from urllib.parse import unquote

import pytest

from qubrid_cli.errors import ConfigError, MissingObjectError, OutputError, QvisionError, StorageError
from qubrid_cli.storage.folder import Folder, StorageOptions
from qubrid_cli.storage.opening import open_folder
from tests.support.buckets import environment_for
from tests.support.server import Raw, Reply, Server

LENGTH = {"Content-Length": "0", "Transfer-Encoding": ""}
XML = {"Content-Type": "application/xml"}
IMPATIENT = StorageOptions(timeout=30, retries=0)
OPERATIONS: dict[str, Callable[[Folder], object]] = {
    "read": lambda folder: folder.read("a.jpg"),
    "list": lambda folder: list(folder.list()),
    "write": lambda folder: folder.put("a.jpg", b"1"),
    "create": lambda folder: folder.create("a.jpg", b"1"),
    "update": lambda folder: folder.update("a.jpg", b"2", folder.put("a.jpg", b"1")),
}


def refusal(status: int, code: str, more: str = "") -> Reply:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message>{more}</Error>"
    return Reply([text.encode()], status=status, headers=XML)


def fail(operation: str, reply: Reply, monkeypatch: pytest.MonkeyPatch, scheme: str = "s3") -> tuple[QvisionError, str]:
    """The error of an operation on a server that always replies the same, and the URL of the server."""
    with Server() as server:
        server.answer = reply
        url = server.url.removesuffix("/v1")
        for name, value in environment_for(url).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(QvisionError) as caught:
            OPERATIONS[operation](open_folder(f"{scheme}://photos/run", IMPATIENT))
    return caught.value, url


@pytest.mark.parametrize(
    ("operation", "reply", "kind", "code", "message", "hint"),
    [
        ("read", refusal(404, "NoSuchKey"), MissingObjectError, "no_such_object", "there is no object {o}", "Names"),
        ("read", refusal(404, "NoSuchBucket"), StorageError, "no_such_bucket", "there is no bucket {b}", "Check its"),
        ("list", refusal(404, "NoSuchBucket"), StorageError, "no_such_bucket", "there is no bucket {b}", "Check its"),
        ("write", refusal(404, "NoSuchBucket"), OutputError, "no_such_bucket", "there is no bucket {b}", "Check its"),
        ("create", Reply(status=404), OutputError, "no_such_bucket", "there is no bucket {b}", "Check its"),
        ("read", refusal(403, "AccessDenied"), StorageError, "permission", "no permission to read {o} (A", "Check"),
        ("list", refusal(403, "AccessDenied"), StorageError, "permission", "no permission to read {f} (A", "Check"),
        ("write", refusal(403, "AccessDenied"), OutputError, "permission", "no permission to write {o} (A", "Check"),
        ("read", Reply(status=401), StorageError, "permission", "no permission to read {o} (HTTP 401)", "Check"),
        ("read", refusal(403, "InvalidAccessKeyId"), ConfigError, "credentials", "{b} refused the cred", "Set AWS"),
        ("write", refusal(403, "SignatureDoesNotMatch"), ConfigError, "credentials", "{b} refused the", "Set AWS"),
        ("list", refusal(400, "ExpiredToken"), ConfigError, "credentials", "the credentials for {b} have", "Set AWS"),
        ("read", refusal(403, "RequestTimeTooSkewed"), ConfigError, "clock", "{b} refused", "Set the clock."),
        ("read", refusal(301, "PermanentRedirect"), ConfigError, "region", "{b} is in another region", "Set AWS_REG"),
        (
            "list",
            refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            *(
                ConfigError,
                "region",
                "{b} is in another region",
                "Set AWS_REGION to the region of the bucket: eu-west-1",
            ),
        ),
        ("read", refusal(503, "SlowDown"), StorageError, "rate_limit", "{b} limits requests (SlowDown)", "Try again"),
        ("create", refusal(501, "NotImplemented"), OutputError, "not_supported", "the server of {b}", "For a run"),
        ("update", refusal(500, "InternalError"), OutputError, "storage", "cannot write {o}: the server", "Try again"),
        (
            "read",
            Reply([b"<html>"]),
            ConfigError,
            "endpoint",
            "the server of {b} ({u}) does not",
            "Check the endpoint.",
        ),
        ("list", Reply([b"text"]), ConfigError, "endpoint", "the server of {b} ({u}) does not", "Check the endpoint."),
    ],
)
def test_each_refusal_of_a_server_is_explained(
    operation: str,
    reply: Reply,
    kind: type[QvisionError],
    code: str,
    message: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error, url = fail(operation, reply, monkeypatch)
    assert (type(error), error.code) == (kind, code)
    names = {"b": "s3://photos", "f": "s3://photos/run/", "o": "s3://photos/run/a.jpg", "u": url}
    assert error.message.startswith(message.format(**names))
    assert error.hint is not None
    assert error.hint.startswith(hint)
    assert "\n" not in error.message + error.hint


def test_a_silent_server_is_given_up_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fall_silent(_: asyncio.StreamWriter, __: int) -> None:
        await asyncio.sleep(60)

    with Raw(fall_silent) as server:
        for name, value in environment_for(server.url.removesuffix("/v1")).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StorageError, match="did not answer in time"):
            open_folder("s3://photos/", StorageOptions(0.2, 0)).read("a.jpg")


def test_a_temporary_failure_is_retried_as_often_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        server.answer = refusal(503, "SlowDown")
        for name, value in environment_for(server.url.removesuffix("/v1")).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StorageError):
            open_folder("s3://photos/", StorageOptions(5, retries=2)).read("a.jpg")
        assert len(server.asked) == 3


def test_an_object_is_never_made_public(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        server.answer = Reply(headers={"ETag": '"1"'})
        for name, value in environment_for(server.url.removesuffix("/v1")).items():
            monkeypatch.setenv(name, value)
        folder = open_folder("s3://photos/", IMPATIENT)
        first = folder.put("a", b"1")
        folder.create("a", b"1")
        folder.update("a", b"1", first)
    assert [asked.headers.get("if-none-match") or asked.headers.get("if-match") for asked in server.asked] == [
        None,
        "*",
        '"1"',
    ]
    assert not any("acl" in name or "grant" in name for asked in server.asked for name in asked.headers)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://storage.example.com", "is not encrypted"),
        ("ftp://127.0.0.1", "is not the URL of a server"),
        ("http://with blank", "is not the URL of a server"),
        ("https://", "is not the URL of a server"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named(endpoint: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_for(endpoint).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as caught:
        open_folder("s3://photos/")
    assert endpoint in caught.value.message


def test_an_endpoint_without_encryption_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_for("http://storage.example.com").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_folder("s3://photos/")


@pytest.mark.parametrize("url", ["s3://", "s3:///a.jpg", "s3://b ü/a", "gs://a/../b/", "az://a//b/"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"does not name a bucket|contains an empty folder name"):
        open_folder(url)


def test_without_the_library_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "qubrid_cli.storage.bucket", raising=False)
    with pytest.raises(ConfigError, match="the library that reads buckets is not installed") as caught:
        open_folder("s3://photos/")
    assert caught.value.hint is not None
    assert "install obstore" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("gs://photos/a b.jpg", {"STORAGE_EMULATOR_HOST": "{host}"}),
        (
            "az://photos/a b.jpg",
            {"AZURE_STORAGE_ACCOUNT": "me", "AZURE_STORAGE_KEY": "a2V5", "AZURE_STORAGE_ENDPOINT": "http://{host}"},
        ),
    ],
)
def test_other_providers_are_reached_by_their_own_variables(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, name = url.rpartition("/")
    with Server() as server:
        server.answer = Reply(headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "ETag": '"1"', **LENGTH})
        for key, value in variables.items():
            monkeypatch.setenv(key, value.format(host=f"127.0.0.1:{server.port}"))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # for other machines
        version = open_folder(folder, IMPATIENT).create(name, b"1")
    assert version is not None
    assert version.etag == '"1"'
    (asked,) = server.asked
    assert (asked.method, unquote(asked.path), asked.body) == ("PUT", "/photos/a b.jpg", b"1")
    assert asked.headers.get("if-none-match") == "*" or asked.headers.get("x-goog-if-generation-match") == "0"
