"""Deadlines: what is due ends, what was cancelled does not, and one thread sees to all of them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from qubrid_cli.deadline import Deadline

SECONDS = 30


class Stream:
    """What httpx shows of a connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def get_extra_info(self, _: str) -> Any:
        return self._socket


class Exchange:
    """A connection with a deadline, whose other end sends nothing by itself."""

    def __init__(self, stack: ExitStack) -> None:
        ours, theirs = socket.socketpair()
        self.socket, self.peer = stack.enter_context(ours), stack.enter_context(theirs)
        self.socket.settimeout(SECONDS)
        self.deadline = Deadline()
        self.connect()

    def connect(self) -> None:
        self.deadline.track_connection("connection.connect_tcp.complete", {"return_value": Stream(self.socket)})

    def is_open(self) -> bool:
        self.peer.send(b"x")
        return self.socket.recv(1) == b"x"


@pytest.fixture
def exchanges() -> Iterator[list[Exchange]]:
    with ExitStack() as stack:
        exchanges = [Exchange(stack) for _ in range(50)]
        yield exchanges
        for exchange in exchanges:
            exchange.deadline.cancel()


def test_a_read_ends_when_the_exchange_expires(exchanges: list[Exchange]) -> None:
    exchange = exchanges[0]
    exchange.deadline.start(0.05)
    assert (exchange.socket.recv(1), exchange.deadline.is_expired) == (b"", True)


def test_a_read_ends_without_expiring_when_the_rest_is_not_needed(exchanges: list[Exchange]) -> None:
    exchange = exchanges[0]
    exchange.deadline.start(SECONDS)
    exchange.deadline.shorten(0.05)
    assert (exchange.socket.recv(1), exchange.deadline.is_expired) == (b"", False)


def test_a_deadline_is_never_put_off(exchanges: list[Exchange]) -> None:
    exchange = exchanges[0]
    exchange.deadline.start(0.05)
    exchange.deadline.shorten(SECONDS)
    assert (exchange.socket.recv(1), exchange.deadline.is_expired) == (b"", True)


def test_an_earlier_deadline_does_not_wait_for_a_later_one(exchanges: list[Exchange]) -> None:
    later, earlier = exchanges[:2]
    later.deadline.start(SECONDS)
    earlier.deadline.start(0.05)
    assert earlier.socket.recv(1) == b""
    assert later.is_open()


def test_a_later_deadline_is_kept_after_an_earlier_one(exchanges: list[Exchange]) -> None:
    earlier, later = exchanges[:2]
    later.deadline.start(0.1)
    earlier.deadline.start(0.05)
    assert (earlier.socket.recv(1), later.socket.recv(1)) == (b"", b"")


def test_a_finished_exchange_is_not_ended_when_it_would_have_been_due(exchanges: list[Exchange]) -> None:
    finished, due = exchanges[:2]
    finished.deadline.start(0.05)
    finished.deadline.cancel()
    due.deadline.start(0.1)
    assert due.socket.recv(1) == b""
    assert (finished.is_open(), finished.deadline.is_expired) == (True, False)


def test_a_connection_that_opens_after_the_end_is_ended_too(exchanges: list[Exchange]) -> None:
    early, late = exchanges[:2]
    early.deadline.start(0.05)
    assert early.socket.recv(1) == b""
    early.deadline.track_connection("connection.start_tls.complete", {"return_value": Stream(late.socket)})
    assert late.socket.recv(1) == b""


def test_a_deadline_can_be_used_again_after_it_expired(exchanges: list[Exchange]) -> None:
    first, second = exchanges[:2]
    first.deadline.start(0.05)
    assert first.socket.recv(1) == b""
    first.deadline.start(SECONDS)
    assert not first.deadline.is_expired
    first.deadline.track_connection("connection.connect_tcp.complete", {"return_value": Stream(second.socket)})
    assert second.is_open()


def test_one_thread_does_for_all_deadlines(exchanges: list[Exchange]) -> None:
    exchanges[0].deadline.start(SECONDS)  # it may be the first of all
    before = threading.active_count()
    for exchange in exchanges:
        exchange.deadline.start(SECONDS)
    assert threading.active_count() == before


def test_a_limit_longer_than_a_thread_can_wait_is_none(exchanges: list[Exchange]) -> None:
    endless, due = exchanges[:2]
    endless.deadline.start(1e300)
    due.deadline.start(0.05)
    assert due.socket.recv(1) == b""
    assert endless.is_open()
