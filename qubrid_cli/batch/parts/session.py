"""A run in parts from its description to its summary."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ... import __version__
from ...errors import BatchIncompleteError, ConfigError, UsageError
from ...frozen import frozen
from ...library.image_options import build_storage_options
from ...output.streams import echo_prose
from ...settings.config_file import load_config
from ...settings.resolve import resolve
from ...signals import stop_on_signals
from ...storage.folder import StorageOptions
from ...storage.opening import open_folder
from ...text import format_count
from ..budget import TotalUsage
from ..progress.display import show_progress
from ..progress.stats import BatchStats
from .connection import Credentials, EndpointAccess, build_access
from .division import PlannedPart, Planner
from .driver import MAX_DEATHS, Driver
from .lease import DEFAULT_TIMES, LOCK_FOLDER, Lease, LeaseKey, LeaseTimes
from .output_folder import RUN_FILE, PartFormat
from .part import Part, Share
from .reports import ReportReader
from .run_file import RunDescription, begin_output, open_output
from .shares import RunLimits, Shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...storage.folder import Folder
    from ..folders import Shard
    from ..inputs import BatchInputs
    from .executors import PartExecutor


@frozen
class PartsPlan:
    """What a run in parts does.

    Attributes:
        location: the folder of the output, a path or a URL.
        inputs: all images.
        credentials: sent to the workers; ``None`` if each has its own.
        shard: the parts that this run works on; ``None`` for all.
        open_executor: opens the executor of the parts; ``None`` only to plan them.
        part_format: of the results of parts; ``None`` for the format of an existing output, or JSONL.
        storage: timeouts and retries of requests to the storage of the output.
    """

    location: str
    inputs: "BatchInputs"
    description: RunDescription
    access: EndpointAccess
    limits: RunLimits = RunLimits()
    credentials: Credentials | None = None
    shard: "Shard | None" = None
    open_executor: "Callable[[], AbstractContextManager[PartExecutor]] | None" = None
    part_format: PartFormat | None = None
    storage: StorageOptions = StorageOptions()
    is_quiet: bool = False
    lease_times: LeaseTimes = DEFAULT_TIMES


def run_in_parts(plan: PartsPlan) -> None:
    """Do a run in parts, and print its summary.

    Raises:
        QvisionError: why it stopped early, or that images failed.
    """
    folder = open_folder(plan.location, plan.storage)
    _refuse_other_content(folder)
    usage = TotalUsage()
    stats = BatchStats(usage)
    show = (lambda _: None) if plan.is_quiet else echo_prose
    with ExitStack() as stack:
        lease = stack.enter_context(Lease(folder, plan.shard, notify=show, times=plan.lease_times))
        output = begin_output(folder, plan.description, plan.part_format)
        planner = Planner(output, plan.inputs.find_images, plan.description.part_size, plan.shard)
        if plan.open_executor is None:
            count = sum(1 for _ in planner.find_parts())
            show(f"{format_count(count, 'part is', 'parts are')} left in {folder.url}")
            return
        if plan.shard is None and not plan.is_quiet and plan.inputs.can_be_found_twice:
            stats.count_total(plan.inputs.find_images(counts_left_out=False), planner.has_work)
        executor = stack.enter_context(plan.open_executor())
        display = stack.enter_context(show_progress(stats, is_quiet=plan.is_quiet, is_shown=True, as_bar=True))
        reports = stack.enter_context(ReportReader(output, is_needed=not plan.is_quiet))
        shares = Shares(plan.limits, time.monotonic())
        driver = Driver(
            planner,
            build_part=partial(_build_part, plan, url=folder.url, lock=lease.key),
            executor=executor,
            lease=lease,
            shares=shares,
            reports=reports,
            stats=stats,
            usage=usage,
            display=display,
        )
        stack.enter_context(stop_on_signals(driver))
        driver.run()
    if not plan.is_quiet:
        for line in stats.format_summary(jobs=""):
            echo_prose(line)
    _raise_if_incomplete(driver, stats, folder.url)


def _build_part(
    plan: PartsPlan, planned: PlannedPart, share: Share, attempt: str | None, *, url: str, lock: LeaseKey
) -> Part:
    """Build the part that a worker gets.

    Args:
        attempt: see ``Part``.
        url: of the folder of the run.
    """
    return Part(
        url,
        planned.number,
        plan.access,
        __version__,
        share,
        redo=planned.redo,
        credentials=plan.credentials,
        lock=lock,
        storage=plan.storage,
        attempt=attempt,
    )


def open_parts(location: str, *, profile: str | None = None, base_url: str | None = None) -> Iterator[Part]:
    """Yield the parts of a planned run that are left, for ``run_part``; their endpoint is that of the settings here.

    Args:
        location: the folder of the run, a path or a URL.
        profile: by default, that of the settings.
        base_url: likewise.

    Raises:
        ConfigError: the endpoint is not that of the run.
        StorageError: there is no run.
    """
    output, description = open_output(open_folder(location))
    settings = resolve(
        {
            "profile": profile,
            "base_url": base_url,
            "offline": description.batch_request.extra_facets.get("offline"),
        },
        os.environ,
        load_config(os.environ),
    )
    if not settings.offline and (settings.profile, settings.base_url) != (description.profile, description.base_url):
        raise ConfigError(
            f"the run in {output.folder.url} uses {description.base_url} with profile {description.profile}, "
            f"and the settings here are {settings.base_url} with profile {settings.profile}",
            hint=f"open_parts(…, profile={description.profile!r}, base_url={description.base_url!r})",
        )
    planner = Planner(output, tuple, description.part_size)
    access, storage = build_access(settings), build_storage_options(settings)
    for planned in planner.find_parts():
        yield Part(output.folder.url, planned.number, access, __version__, redo=planned.redo, storage=storage)


def _refuse_other_content(folder: "Folder") -> None:
    """Refuse a folder that is used for something else, such as the images themselves.

    Raises:
        UsageError: it has files, but no ``run.json``.
    """
    if folder.exists(RUN_FILE):
        return
    name = next((item.name for item in folder.list() if not item.name.startswith(LOCK_FOLDER)), None)
    if name is not None:
        raise UsageError(
            f"{folder.url} is not empty, and does not hold a run: it has {name}",
            hint="Name a new folder after -o, such as results/",
        )


def _raise_if_incomplete(driver: Driver, stats: BatchStats, url: str) -> None:
    """Raise an error that says why a run is incomplete, if it is."""
    again = "run the same command again."
    if (reason := driver.stop_reason) is not None:
        raise reason.with_message(f"{reason.message}; some parts are left", hint=reason.hint or f"To continue, {again}")
    if driver.left_out:
        parts = format_count(len(driver.left_out), "part was", "parts were")
        numbers = ", ".join(map(str, driver.left_out[:10]))
        raise BatchIncompleteError(
            f"{parts} left out ({numbers}), because the workers died {MAX_DEATHS} times",
            hint=f"Is there enough memory? The images of a part are in {url}plan/. To try again, {again}",
        )
    stats.raise_if_failed()
