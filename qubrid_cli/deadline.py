"""A time limit for a whole HTTP exchange, which httpx does not have: it limits each single read only."""

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any


class Deadline:
    """Shuts a connection down, from another thread, when its time is over; a read that is waiting ends at once.

    It does not cover the time until the connection is open, TLS handshake included; httpx has a timeout for that.
    """

    def __init__(self) -> None:
        self.is_expired = False
        self._socket: socket.socket | None = None
        self._deadline = inf  # of the whole exchange
        self._shortened_deadline = inf

    def track_connection(self, name: str, info: Mapping[str, Any]) -> None:
        """Remember the connection in use. For httpx's ``trace`` extension, which calls this for every step."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.track_socket(info["return_value"].get_extra_info("socket"))

    def track_socket(self, connected: socket.socket) -> None:
        """Remember the connection in use. For a transport that opens its connections itself."""
        self._socket = connected
        if self.is_expired:
            self._shut_down()

    def start(self, seconds: float | None) -> None:
        """Expire after this many seconds; ``None`` means never."""
        self.cancel()
        self.is_expired = False
        self._deadline = inf if seconds is None else time.monotonic() + seconds
        self._shortened_deadline = inf
        _watchdog.watch(self)

    def shorten(self, seconds: float) -> None:
        """Shut down after this many seconds at the latest, without expiring: the rest of the exchange is not needed."""
        self._shortened_deadline = min(self._shortened_deadline, time.monotonic() + seconds)
        _watchdog.watch(self)

    def restore(self) -> None:
        """Undo ``shorten``: the whole exchange is needed again."""
        self._shortened_deadline = inf

    def cancel(self) -> None:
        """Do not shut the connection down: the exchange has ended."""
        _watchdog.forget(self)

    @property
    def due_at(self) -> float:
        """When to call ``end``, by ``time.monotonic``."""
        return min(self._deadline, self._shortened_deadline)

    def end(self) -> None:
        """End the exchange, because its time is over."""
        self.is_expired = self._deadline <= self._shortened_deadline
        self._shut_down()
        if self.is_expired:
            self._discard_received()

    def _discard_received(self) -> None:
        """Discard data that was received but not read, which could keep the reading thread busy for seconds."""
        flags = getattr(socket, "MSG_DONTWAIT", None)
        if self._socket is not None and flags is not None:
            with suppress(OSError):
                while socket.socket.recv(self._socket, 1 << 20, flags):
                    pass

    def _shut_down(self) -> None:
        if self._socket is not None:
            # SSLSocket.shutdown would first discard the TLS state that the reading thread uses; the plain method does not.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Watchdog:
    """Ends the exchanges whose time is over, in one thread for all.

    The lock is held while an exchange is ended, so none is ended after it was forgotten. Nearly all exchanges are forgotten
    long before they are due. So forgetting one does not wake the thread: it sleeps until the earliest deadline it was given
    and only then looks at the others. There are at most as many as requests in flight.
    """

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        self._wakes_at = inf
        self._is_running = False
        # The lock is reentrant: the garbage collector may close a response, and so forget a deadline, at any time.
        self._condition = threading.Condition()

    def watch(self, deadline: Deadline) -> None:
        """End an exchange when it is due; call this again when its deadline becomes earlier."""
        if deadline.due_at == inf:
            return
        with self._condition:
            self._deadlines.add(deadline)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
            if deadline.due_at < self._wakes_at:
                self._wakes_at = deadline.due_at
                self._condition.notify()

    def forget(self, deadline: Deadline) -> None:
        """Do not end this exchange."""
        with self._condition:
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        with self._condition:
            while True:
                while (seconds := self._wakes_at - time.monotonic()) > 0:
                    self._condition.wait(min(seconds, threading.TIMEOUT_MAX))
                self._end_due()
                self._wakes_at = min((deadline.due_at for deadline in list(self._deadlines)), default=inf)

    def _end_due(self) -> None:
        now = time.monotonic()
        for deadline in list(self._deadlines):
            if deadline.due_at <= now:
                self._deadlines.discard(deadline)
                deadline.end()


_watchdog = _Watchdog()
