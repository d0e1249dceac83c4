"""A time limit for a whole HTTP exchange, which httpx does not have: it limits each single read only."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any


class Deadline:
    """Shuts a connection down, from a thread of its own, when its time is over; a read that waits on it ends at once.

    Opening a connection, TLS handshake included, has a timeout of its own in httpx; before that there is nothing to
    shut down.
    """

    def __init__(self) -> None:
        self.is_expired = False
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._deadline = inf  # of the whole exchange
        self._shortened_deadline = inf

    def track_connection(self, name: str, info: Mapping[str, Any]) -> None:
        """Remember the connection in use. For httpx's ``trace`` extension, which calls this for every step."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_expired:
                self._shut_down()

    def start(self, seconds: float | None) -> None:
        """Expire after this many seconds; ``None`` means never."""
        self.is_expired = False
        self._deadline = inf if seconds is None else time.monotonic() + seconds
        self._shortened_deadline = inf
        self._set_timer(self._deadline, self._expire)

    def shorten(self, seconds: float) -> None:
        """Shut down after this many seconds at the latest, without expiring: the rest of the exchange is not needed."""
        self._shortened_deadline = min(self._shortened_deadline, self._deadline, time.monotonic() + seconds)
        is_whole = self._shortened_deadline == self._deadline
        self._set_timer(self._shortened_deadline, self._expire if is_whole else self._shut_down)

    def cancel(self) -> None:
        """Do not shut down any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, deadline: float, act: Callable[[], None]) -> None:
        self.cancel()
        if deadline < inf:
            self._timer = threading.Timer(max(0.001, deadline - time.monotonic()), act)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        self.is_expired = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # SSLSocket.shutdown would first discard the TLS state that the reading thread uses; the plain method does not.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
