"""The executors that work on parts: processes of this machine, threads of this process, and Dask.

The driver needs only a ``concurrent.futures.Executor`` and a number of workers.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from ... import __version__
from ...errors import BatchIncompleteError, ConfigError
from ...frozen import frozen
from ...installation import format_install_command
from .lease import SHORT_GRACE, Interruption

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

#: The exit code of a process that SIGTERM has ended.
_TERMINATED = 128 + 15
#: Seconds to connect to a scheduler, or to disconnect from it.
_CONNECT_SECONDS = 10
_CONTINUE_HINT = "To continue, run the same command again when there is a scheduler."
#: Exceptions of a future whose worker died.
_LOST_WORKER_ERRORS: tuple[type[BaseException], ...] = (BrokenExecutor, CancelledError)


@frozen
class PartExecutor:
    """An executor, and what the driver has to know about it.

    Attributes:
        count_workers: returns how many parts can run at the same time at the moment.
        lost_worker_errors: the exceptions of futures whose worker died, so that the part can be submitted again.
    """

    executor: Executor
    count_workers: Callable[[], int]
    lost_worker_errors: tuple[type[BaseException], ...] = _LOST_WORKER_ERRORS


@contextmanager
def open_threads(count: int) -> Iterator[PartExecutor]:
    """Open an executor of threads in this process."""
    executor = ThreadPoolExecutor(count, thread_name_prefix="part")
    try:
        yield PartExecutor(executor, lambda: count)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def open_processes(count: int) -> Iterator[PartExecutor]:
    """Open an executor of processes on this machine."""
    with _Processes(count) as executor:
        yield PartExecutor(executor, lambda: count)


class _Processes(Executor):
    """Pools of one process each, so that a process that dies does not break the others; a broken pool is replaced."""

    def __init__(self, count: int) -> None:
        self._pools = SimpleQueue[ProcessPoolExecutor]()
        for _ in range(count):
            self._pools.put(self._make_pool())

    @staticmethod
    def _make_pool() -> ProcessPoolExecutor:
        import multiprocessing

        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare_process)

    def submit(
        self, function: Callable[_Parameters, _Result], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Result]:
        """Submit to a free process. This hardly ever waits, because the driver submits at most one part for each process."""
        pool = self._pools.get()
        try:
            future = pool.submit(_run_until_terminated, partial(function, *args, **kwargs))
        except BrokenExecutor:  # it died while it was idle
            pool = self._make_pool()
            future = pool.submit(_run_until_terminated, partial(function, *args, **kwargs))
        future.add_done_callback(partial(self._give_back, pool))
        return future

    def _give_back(self, pool: ProcessPoolExecutor, future: Future[Any]) -> None:
        # A broken pool shuts itself down. Shutting it down here would be a deadlock: since Python 3.12 it calls this while
        # it holds the lock that ``shutdown`` needs.
        is_broken = not future.cancelled() and isinstance(future.exception(), BrokenExecutor)
        self._pools.put(self._make_pool() if is_broken else pool)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # the interface
        """End the processes that are free; at the end of a run, all are."""
        while not self._pools.empty():
            self._pools.get().shutdown(wait=wait, cancel_futures=cancel_futures)


_is_terminated = False


def _prepare_process() -> None:
    """Leave Ctrl-C to the driver, and save the answers before SIGTERM or the end of the driver ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _terminate(Interruption("SIGTERM")))
    # A process of a pool does not notice by itself that its parent was killed.
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        _terminate(Interruption("the end of the process that started it", SHORT_GRACE))


def _terminate(interruption: Interruption) -> None:
    """End the process, after the part that it works on has been saved."""
    global _is_terminated  # noqa: PLW0603  # a signal handler has no other way
    from .worker import interrupt_all

    _is_terminated = True
    if not interrupt_all(interruption):
        os._exit(_TERMINATED)


def _run_until_terminated(function: Callable[[], _Result]) -> _Result:
    result = function()
    if _is_terminated:
        os._exit(_TERMINATED)
    return result


@contextmanager
def open_dask(address: str) -> Iterator[PartExecutor]:
    """Open an executor of the workers of a Dask scheduler, or of a cluster on this machine.

    Args:
        address: of the scheduler, or ``local`` or ``local:N``.

    Raises:
        ConfigError: Dask is not installed, there is no scheduler, or a worker lacks this version of the program.
    """
    # The command line keeps httpx from loading click, which Dask needs.
    if sys.modules.get("click", sys) is None:
        del sys.modules["click"]
    try:
        from dask.distributed import Client, KilledWorker, LocalCluster
    except ImportError as error:
        command = format_install_command("'dask[distributed]'")
        raise ConfigError("--dask needs the library dask", hint=f"Run: {command}") from error
    # Dask prints tracebacks when a worker or the scheduler goes away; the driver reports that in a sentence.
    for name in [*logging.root.manager.loggerDict, "asyncio"]:
        if name.startswith(("distributed", "tornado", "asyncio")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    kind, _, count = address.partition(":")
    with ExitStack() as stack:
        if kind == "local" and (not count or count.isdecimal()):
            workers = int(count) if count else None
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload=__name__,  # which calls dask_setup
            )
            stack.enter_context(cluster)
            client = Client(cluster)
        else:
            client = _connect(Client, address)
        stack.callback(_close, client)
        _check_versions(client)
        executor = _DaskExecutor(client, address)
        yield PartExecutor(executor, executor.count_workers, (*_LOST_WORKER_ERRORS, KilledWorker))


def dask_setup(_: object) -> None:
    """Prepare a worker of a cluster on this machine, which a terminal signals together with the driver.

    Source: Dask, "Customize initialization", preload scripts.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _save_and_end())


def _save_and_end() -> None:
    from .worker import save_all

    save_all()
    os._exit(_TERMINATED)


class _DaskExecutor(Executor):
    """Dask's own executor, whose exceptions are translated to ours."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._executor: Executor = client.get_executor(pure=False)

    def submit(
        self, function: Callable[_Parameters, _Result], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Result]:
        """See ``Executor``."""
        with self._translate_errors():
            return self._executor.submit(function, *args, **kwargs)

    def count_workers(self) -> int:
        """Count the threads of all workers."""
        with self._translate_errors():
            return sum(self._client.nthreads().values())

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, TimeoutError, CancelledError, RuntimeError) as error:
            raise BatchIncompleteError(
                f"the connection to the Dask scheduler {self._address} was lost", hint=_CONTINUE_HINT
            ) from error


def _close(client: Any) -> None:
    with suppress(OSError, TimeoutError, CancelledError, RuntimeError):
        client.close(timeout=_CONNECT_SECONDS)


def _connect(make_client: Callable[..., Any], address: str) -> Any:
    try:
        return make_client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"there is no Dask scheduler at {address}",
            hint="The log of a scheduler shows its address, such as tcp://10.0.0.5:8786.",
        ) from error


def _check_versions(client: Any) -> None:
    """Check that all workers have this version of the program.

    Raises:
        ConfigError: a worker does not.
    """

    def find_version() -> str | None:  # sent as code, because a worker may not have the program
        try:
            import qubrid_cli
        except ImportError:
            return None
        return qubrid_cli.__version__

    for worker, version in client.run(find_version).items():
        if version != __version__:
            problem = f"has qvision {version}" if isinstance(version, str) else "does not have qvision"
            raise ConfigError(
                f"the Dask worker {worker} {problem}, but this is qvision {__version__}",
                hint=f"On every worker: pip install qubrid-cli=={__version__}",
                code="version",
            )
