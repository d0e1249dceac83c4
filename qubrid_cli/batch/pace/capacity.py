"""How many requests this machine holds at once: its file descriptors, memory and threads."""

import functools
import os
from contextlib import suppress
from math import inf
from pathlib import Path

#: The soft limit of file descriptors is raised to this at most: more than ``-j`` needs, and as many as macOS accepts.
_MAX_DESCRIPTORS = 10_240
#: Descriptors for everything but connections: the files of the run, and for each thread that prepares images its files.
_RESERVED_DESCRIPTORS, _DESCRIPTORS_PER_THREAD = 16, 2
#: Open descriptors that are assumed on systems where they cannot be counted.
_ASSUMED_OPEN = 32
#: The fraction of the memory that images in flight may use.
_MEMORY_FRACTION = 0.25
#: The limits of a container, cgroup v2 and v1.
_MEMORY_LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: An image in flight is in memory as a file, as it is sent, and twice more as base64 for a moment.
_COPIES_OF_IMAGE = 4
#: Bytes of the largest block that glibc counts (``DEFAULT_MMAP_THRESHOLD_MAX``, 32 MiB with the block's own fields).
_LARGEST_BLOCK = 31 << 20


class Capacity:
    """How many requests this machine holds at once.

    Args:
        connections: that may be open.
        memory: bytes for the images in flight.
    """

    def __init__(self, connections: float = inf, memory: float = inf) -> None:
        self._connections = self._most_connections = connections
        self._memory = memory
        self._image_size = 0.0  # a moving average

    @property
    def limit(self) -> float:
        """The requests that may be in flight."""
        held = self._memory / (self._image_size * _COPIES_OF_IMAGE) if self._image_size else inf
        return max(1.0, min(self._connections, held))

    def record_image(self, size: int) -> None:
        """Record the bytes of an image to send."""
        self._image_size += (size - self._image_size) / (16 if self._image_size else 1)

    def record_success(self) -> None:
        """Record that a request was possible: after as many as the limit, one more is tried."""
        self._connections = min(self._most_connections, self._connections + 1 / self._connections)

    def record_exhausted(self, in_flight: int) -> None:
        """Record that there was no file descriptor or thread left for another request."""
        self._connections = max(1.0, min(self._connections, in_flight))


def measure_capacity(threads: int) -> Capacity:
    """Raise the limit of file descriptors, and measure what this machine holds.

    Args:
        threads: that prepare images.
    """
    limit = _raise_descriptor_limit()
    reserved = _RESERVED_DESCRIPTORS + _DESCRIPTORS_PER_THREAD * min(threads, _RESERVED_DESCRIPTORS // 2)
    return Capacity(max(1, limit - _count_open_descriptors() - reserved), _MEMORY_FRACTION * _find_memory())


@functools.cache
def keep_freed_memory() -> None:
    """Keep the memory of one image for the next one, instead of returning it to the system in between.

    glibc keeps up to twice the size of the largest block that was ever freed, so a large block is freed here; it is never
    written to. Photos of 12 MP took just above the initial limit: 24 of them cost 0.9 s of system time, now 0.25 s.
    Source: mallopt(3), ``M_MMAP_THRESHOLD``. Other allocators are not affected.
    """
    bytes(_LARGEST_BLOCK)


def _raise_descriptor_limit() -> float:
    """Raise the soft limit of file descriptors as far as the hard one; return it."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return inf
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return inf
    target = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if target > soft:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            return target
    return soft


def _count_open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return _ASSUMED_OPEN


def _find_memory() -> float:
    """The bytes of memory of this machine, or of the container; infinity if unknown."""
    sizes = [inf]
    with suppress(AttributeError, OSError, ValueError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in _MEMORY_LIMIT_FILES:
        with suppress(OSError, ValueError):  # "max"
            sizes.append(int(Path(name).read_text(encoding="ascii")))
    return min(size for size in sizes if size > 0)
