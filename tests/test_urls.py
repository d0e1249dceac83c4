"""URLs: how near a host is, what may be sent to this machine, and which parts are shown."""

import socket
from pathlib import Path

import pytest

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.errors import AuthError
from qubrid_cli.urls import Reach, classify_reach, is_this_machine, redact, strip_root_dot, uses_proxy

from .conftest import KEY, Ask
from .support.server import Server


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, Reach.THIS_MACHINE) for host in (
            "localhost", "LOCALHOST", "localhost.", "photos.localhost", "Photos.Localhost.", "localhost:8080", "me:pw@localhost:8080",
            "127.0.0.1", "127.0.0.1.", "127.0.0.1:80", "127.255.255.254", "0.0.0.0", "[::1]", "[::1]:8080", "[::]",
            "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]",
            "127.1", "2130706433", "0x7f000001", "0X7F.1", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "0", "127.0.257",
        )),
        *((host, Reach.LOCAL_NETWORK) for host in (
            "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.20:8123", "169.254.1.1", "100.64.0.1", "100.127.255.255",
            "[fe80::1]", "[fe80::1%25eth0]", "[fd12:3456::1]:443", "[fc00::]", "[FD00::1]", "[fec0::1]", "[::ffff:192.168.1.1]",
            "nas.local", "NAS.LOCAL.", "a.b.local", "local", "metadata.internal", "photos.lan", "router.home.arpa", "home.arpa", "nas", "nas:5000",
            "intranet.", "3232235777", "0xc0a80101", "192.168.257", "10.1",
        )),
        *((host, Reach.INTERNET) for host in (
            "example.com", "EXAMPLE.COM.", "localhost.example.com", "local.example.com", "mylocalhost.com", "nas.local.example", "x.notlocal",
            "lan.example", "arpa.example", "home.arpa.example", "xhome.arpa", "192.0.2.1", "8.8.8.8", "8.8.8.8.", "172.15.255.255", "172.32.0.1",
            "192.169.0.1", "100.63.255.255", "100.128.0.1", "11.0.0.1", "[2001:db8::1]", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "134744072",
            "0x08080808", "010.1.1.1", "127.0.0.1.example.com", "127.0.0.1%20.example", "127.0.0.1%20x.example", "localhost..", "0x7f.example", "1.2.3.4.5", "256.1.1.1", "127.0.0.256",
        )),
    ],
)  # fmt: skip
def test_reach_is_decided_by_name_or_address(host: str, expected: Reach) -> None:
    assert classify_reach(f"http://{host}/a.jpg") is expected


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.0.257", "3232235777"]
)
def test_numeric_forms_of_an_address_mean_what_they_mean_to_the_resolver(host: str) -> None:
    assert classify_reach(f"http://{host}/") is classify_reach(f"http://{socket.inet_ntoa(socket.inet_aton(host))}/")


@pytest.mark.parametrize(
    "host", ["127.0.0.1 .evil.example", "127.0.0.1\u00a0x", "127.0.0.1%20", "127.0.0.1%25lo", "0x7f000001 x"]
)
def test_text_after_an_address_makes_it_another_host(host: str) -> None:
    """``inet_aton`` ignores what follows a blank; a resolver may not."""
    assert not is_this_machine(f"http://{host}/")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost.:9/v1", "http://localhost:9/v1"),
        ("http://localhost./v1", "http://localhost/v1"),
        ("http://me:pw.@Localhost.:9", "http://me:pw.@Localhost:9"),
        ("http://127.0.0.1./a.jpg?x=1.", "http://127.0.0.1/a.jpg?x=1."),
        ("http://localhost:9/v1", "http://localhost:9/v1"),
        ("http://example.com.:9/v1", "http://example.com.:9/v1"),
    ],
)
def test_the_root_dot_of_this_machine_is_removed(url: str, expected: str) -> None:
    assert strip_root_dot(url) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost.", "127.1", "[::ffff:127.0.0.1]", "[::]"])
def test_this_machine_is_reached_without_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert (uses_proxy(f"http://{host}:9/v1"), uses_proxy("http://example.com/")) == (False, True)


def test_a_host_in_no_proxy_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "nas.local")
    assert not uses_proxy("http://nas.local/a.jpg")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "localhost.", "LOCALHOST.", "a.localhost", "127.1", "0x7f000001", "[::]", "[::1]"]
)
def test_the_key_may_go_to_this_machine_over_plain_http(host: str) -> None:
    with Endpoint(f"http://{host}:9/v1", key=KEY, timeout=1) as endpoint:
        assert not endpoint.url.host.endswith(".")


@pytest.mark.parametrize("host", ["192.168.0.1", "nas", "localhost.example.com", "127.0.0.1%20.example", "1.0.0.127"])
def test_the_key_does_not_go_elsewhere_over_plain_http(host: str) -> None:
    with pytest.raises(AuthError):
        Endpoint(f"http://{host}:9/v1", key=KEY, timeout=1)


@pytest.mark.parametrize("host", ["localhost.", "0.0.0.0", "127.1"])
def test_every_name_of_this_machine_gets_the_request_and_the_key(
    describe: Ask, lighthouse: Path, server: Server, host: str
) -> None:
    base_url = server.url.replace("127.0.0.1", host)
    run = describe(lighthouse, "--base-url", base_url, env={"HTTP_PROXY": "http://127.0.0.1:9"})
    assert (run.exit_code, run.stdout) == (0, b"A lighthouse.\n"), run.stderr
    assert [request.headers["authorization"] for request in server.asked] == [f"Bearer {KEY}"]


@pytest.mark.parametrize("text", ["me@home.jpg", "C:/me@home.jpg", "https://example.com/a.jpg", "a://b"])
def test_text_without_a_password_is_shown_unchanged(text: str) -> None:
    assert redact(text) == text
