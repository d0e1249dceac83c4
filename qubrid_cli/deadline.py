"""qubrid_cli.deadline."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any, Protocol


class _NetworkStream(Protocol):
    """What httpx calls a network stream."""

    def get_extra_info(self, info: str) -> Any: ...


class Deadline:
    """Ends a connection from a thread of its own when its time is over, so that a read which waits on it ends at once.

    httpx has no limit for a whole request, only for each single read. (Connecting, with the handshake of TLS, has one
    of its own; before that there is nothing to cut.)
    """

    def __init__(self) -> None:
        self.is_expired = False
        self._stream: _NetworkStream | None = None
        self._timer: threading.Timer | None = None
        self._deadline = inf  # of the whole request
        self._shortened_deadline = inf

    def track_connection(self, name: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection in use: httpx's ``trace`` extension, which calls this for every step."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            if self.is_expired:
                self._shut_down()

    def start(self, seconds: float | None) -> None:
        """Cut after so many seconds; ``None`` for never."""
        self.is_expired = False
        self._deadline = inf if seconds is None else time.monotonic() + seconds
        self._shortened_deadline = inf
        self._set_timer(self._deadline, self._expire)

    def shorten(self, seconds: float) -> None:
        """Nothing that matters is expected any more: cut after so many seconds, or sooner where that was said before."""
        self._shortened_deadline = min(self._shortened_deadline, self._deadline, time.monotonic() + seconds)
        self._set_timer(
            self._shortened_deadline, self._expire if self._shortened_deadline == self._deadline else self._shut_down
        )

    def cancel(self) -> None:
        """Cut nothing any more."""
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
        used = self._stream.get_extra_info("socket") if self._stream is not None else None
        if used is not None:
            # An SSLSocket would drop its state first, under the feet of the thread that reads: so the plain method.
            with suppress(OSError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)
