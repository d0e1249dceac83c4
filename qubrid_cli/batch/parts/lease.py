"""The lock of a run in parts: one driver at a time, and its workers stop when it does.

The lock is a small file in the output. Its driver rewrites it every few seconds, unless another driver has taken it over.
Every watcher measures with its own clock how long the file has not changed, so the clocks of machines need not agree.
Workers stop well before another driver may take over.

Through this file, the driver also tells its workers to stop, and their share of the limits.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from ...errors import MissingObjectError, OutputError, QvisionError, StorageError
from ...frozen import frozen

if TYPE_CHECKING:
    from ...storage.folder import Folder, StoredObject, Version
    from ..folders import Shard

LOCK_FOLDER = "lock/"
#: Seconds that requests in flight may still take when the driver is gone, because another one may take over soon.
SHORT_GRACE = 5.0


@frozen
class LeaseTimes:
    """Seconds of a lease.

    Attributes:
        renewal: between two renewals.
        worker: without a renewal, after which workers stop.
        takeover: without a renewal, after which another driver takes over.
        poll: between two checks of the file.
    """

    renewal: float = 4.0
    worker: float = 12.0
    takeover: float = 24.0
    poll: float = 1.0


DEFAULT_TIMES = LeaseTimes()


@frozen
class LeaseKey:
    """Identifies the lock of a driver for its workers: the name of the file, and the ``id`` in it."""

    name: str
    id: str
    times: LeaseTimes = DEFAULT_TIMES


@frozen
class Interruption:
    """Why a worker must stop before its part is finished.

    Attributes:
        cause: what follows ``stopped by`` in the message.
        grace: seconds that the requests in flight may still take; ``None`` to derive them from earlier answers.
    """

    cause: str
    grace: float | None = None


@frozen
class CommonShare:
    """The share of the limits that every running part has at the moment; ``None`` for no limit."""

    jobs: int | None = None
    rpm: float | None = None
    tpm: float | None = None


class Lease:
    """The lock of one driver. A context manager that waits for the lock and keeps it.

    Args:
        shard: the parts that the driver works on; ``None`` for all. Drivers of different shards can run at the same time,
            if their number of shards is the same.
        notify: shows a message.

    Attributes:
        problem: why the lock was lost; ``None`` while it is held.

    Raises:
        OutputError: another driver has the lock.
    """

    def __init__(
        self,
        folder: "Folder",
        shard: "Shard | None" = None,
        *,
        notify: Callable[[str], None] = lambda _: None,
        times: LeaseTimes = DEFAULT_TIMES,
    ) -> None:
        self.problem: QvisionError | None = None
        self._folder = folder
        self._notify = notify
        self._times = times
        self._name = f"{LOCK_FOLDER}{'run' if shard is None else f'{shard.number}-of-{shard.count}'}.json"
        self._shard = shard
        self._content: dict[str, Any] = {
            "id": os.urandom(8).hex(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "renewals": 0,
            "stop": False,
            "share": asdict(CommonShare()),
        }
        self._version: Version
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)

    @property
    def key(self) -> LeaseKey:
        """Identifies the lock for workers."""
        return LeaseKey(self._name, self._content["id"], self._times)

    def __enter__(self) -> Self:
        version = self._folder.create(self._name, self._encode())
        if version is None:
            version = self._take_over()
        self._version = version
        try:
            self._refuse_others()
        except BaseException:
            self._folder.delete(self._name)
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(self._times.takeover)
        if self.problem is None:
            with suppress(OutputError, StorageError):
                self._folder.delete(self._name)

    def publish(self, *, stop: bool = False, share: CommonShare | None = None) -> None:
        """Tell the workers to stop, or their new share."""
        with self._lock:
            self._content["stop"] = self._content["stop"] or stop
            if share is not None:
                self._content["share"] = asdict(share)
        self._renew()

    def _encode(self) -> bytes:
        return json.dumps(self._content).encode() + b"\n"

    def _take_over(self) -> "Version":
        """Take over the lock of a driver that does not renew it any more."""
        while True:
            try:
                stored = self._watch([self._name])
            except MissingObjectError:
                if (version := self._folder.create(self._name, self._encode())) is not None:
                    return version
                continue
            if (version := self._folder.update(self._name, self._encode(), stored[self._name].version)) is not None:
                return version

    def _refuse_others(self) -> None:
        """Check that no other driver may work on the same parts; delete the locks of those that are gone."""
        names = [item.name for item in self._folder.list(LOCK_FOLDER)]
        names = [name for name in names if name != self._name and not self._is_compatible(name)]
        for name in self._watch(names) if names else ():
            self._folder.delete(name)

    def _is_compatible(self, name: str) -> bool:
        """Whether the driver with a lock works on another shard of the same number of shards."""
        return self._shard is not None and name.endswith(f"-of-{self._shard.count}.json")

    def _watch(self, names: list[str]) -> "dict[str, StoredObject]":
        """Read locks, and wait until it is certain that their drivers are gone.

        Raises:
            OutputError: a driver is still running.
            MissingObjectError: a driver has just ended.
        """
        stored = {name: self._folder.read_versioned(name) for name in names}
        owners = [_describe_owner(item.data) for item in stored.values()]
        self._notify(f"note: waiting to see whether another run is still active: {owners[0]}")
        give_up_at = time.monotonic() + self._times.takeover
        while time.monotonic() < give_up_at:
            time.sleep(self._times.poll)
            for (name, item), owner in zip(stored.items(), owners, strict=True):
                if self._folder.read_versioned(name).version != item.version:
                    raise OutputError(
                        f"another run works on {self._folder.url}: {owner}",
                        hint="Wait for it, or divide the work between several machines with --shard I/N.",
                        code="in_use",
                    )
        return stored

    def _keep_renewing(self) -> None:
        failing_since: float | None = None
        while not self._is_over.wait(self._times.renewal if failing_since is None else self._times.poll):
            try:
                self._renew()
                failing_since = None
            except (OutputError, StorageError) as error:  # perhaps only for a moment
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > self._times.takeover - self._times.renewal:
                    self.problem = error
            if self.problem is not None:
                return

    def _renew(self) -> None:
        with self._lock:
            if self.problem is not None:
                return
            self._content["renewals"] += 1
            version = self._folder.update(self._name, self._encode(), self._version)
            if version is not None:
                self._version = version
                return
            self.problem = OutputError(
                f"another run has taken over {self._folder.url}, because this one did not answer for a while",
                hint="Wait until that run is finished.",
                code="in_use",
            )


def _describe_owner(data: bytes) -> str:
    with suppress(ValueError, KeyError, TypeError):
        content = json.loads(data)
        return f"process {content['pid']} on {content['host']}, since {content['started']}"
    return "unknown process"


class LeaseWatcher:
    """Watches the lock of its driver for a worker.

    Args:
        key: of the lock.

    Attributes:
        share: the last one that the driver has published; ``None`` until it is read.
        poll: seconds between two checks.
    """

    def __init__(self, folder: "Folder", key: LeaseKey) -> None:
        self.share: CommonShare | None = None
        self.poll = key.times.poll
        self._folder = folder
        self._key = key
        self._data = b""
        self._changed_at = time.monotonic()

    def check(self) -> Interruption | None:
        """Read the lock; return why the worker must stop, or ``None``."""
        with suppress(StorageError):
            data = self._folder.read(self._key.name)
            if data != self._data:
                self._data, self._changed_at = data, time.monotonic()
            with suppress(ValueError, KeyError, TypeError):
                content = json.loads(data)
                if content["id"] != self._key.id:
                    return Interruption("another run, which has taken over", SHORT_GRACE)
                self.share = CommonShare(**content["share"])
                if content["stop"]:
                    return Interruption("the run")
        if time.monotonic() - self._changed_at > self._key.times.worker:
            return Interruption("the end of the run that started it", SHORT_GRACE)
        return None
