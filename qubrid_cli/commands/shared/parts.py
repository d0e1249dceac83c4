"""The options of a run in parts: ``-o FOLDER/``, ``--processes``, ``--dask`` and others."""

import enum
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ...library import image_options
from . import batch_options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...batch.parts.executors import PartExecutor
    from ...batch.tasks import BatchPlan
    from ...schema.json_schema import Schema
    from ...settings.fields import Settings

_DEFAULT_PART_SIZE = 200
_MAX_PROCESSES = 512
#: Parts in one process at the same time: one can begin while the last answers of another arrive.
_THREADS = 2
#: The options that only a run in parts has, by parameter.
_OWN_OPTIONS = {
    "processes": "--processes",
    "dask": "--dask",
    "part_size": "--part-size",
    "part_format": "--part-format",
    "plan_only": "--plan",
    "send_key": "--send-key",
}
#: The options that a run in parts cannot have, and what to do instead.
_OTHER_OPTIONS = {
    "ordered": ("--ordered", "The results are joined in order by: qvision join FOLDER/"),
    "force": ("--force", "To request everything again, name another folder after -o."),
    "verify": ("--verify", "To request changed images again, name another folder after -o."),
    "failures": ("--failures", "They are listed by: qvision join FOLDER/ --failed"),
    "password_file": ("--password-file", "Process encrypted documents with a results file: -o results.jsonl"),
    "sidecar": ("--sidecar", "Write sidecars with a results file: -o results.jsonl"),
}


class FormatKind(enum.StrEnum):
    """The format of results, as a type for options. ``PartFormat`` would load the modules of runs in parts."""

    JSONL = "jsonl"
    PARQUET = "parquet"


Processes = Annotated[
    str | None,
    typer.Option(
        "--processes", metavar="N", help="Work on parts in N processes; auto: one per core. Needs -o FOLDER/."
    ),
]
Dask = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="Work on parts with a Dask cluster; local:N starts N workers here."),
]
PartSize = Annotated[
    int | None,
    typer.Option("--part-size", min=1, max=100_000, metavar="N", help="Images in a part. [200]", show_default=False),
]
PartFormatOption = Annotated[
    FormatKind | None,
    typer.Option("--part-format", metavar="FORMAT", help="Write the result of a part as jsonl or parquet. [jsonl]"),
]
PlanOnly = Annotated[
    bool, typer.Option("--plan", help="Only divide the images into parts; another program starts the workers.")
]
SendKey = Annotated[
    bool, typer.Option("--send-key", help="Send the key to the Dask workers; otherwise each uses its own.")
]


def find_location(params: Mapping[str, Any]) -> str | None:
    """Find the folder of a run in parts; ``None`` if the output is a results file.

    Args:
        params: the command line, by the names of the parameters.

    Raises:
        UsageError: an option does not apply to the kind of output.
    """
    output = params["output"]
    if output is None or not _is_folder(str(output)):
        for name, option in _OWN_OPTIONS.items():
            if params[name] not in {None, False}:
                raise UsageError(f"{option} needs a folder after -o", hint="For example: -o results/")
        return None
    for name, (option, hint) in _OTHER_OPTIONS.items():
        if params[name]:
            raise UsageError(f"{option} does not apply to a run in parts, -o {output}", hint=hint)
    if "-" in (params["arguments"] or ()):
        raise UsageError("- cannot be an image of a run in parts", hint="Save it to a file.")
    if sum(params[name] not in {None, False} for name in ("processes", "dask", "plan_only")) > 1:
        raise UsageError("--processes, --dask and --plan exclude each other", hint="Use one of them.")
    if params["send_key"] and params["dask"] is None:
        raise UsageError("--send-key applies to --dask", hint="Other workers have the key of this process.")
    return str(output)


def _is_folder(output: str) -> bool:
    from ...urls import is_object_url

    if is_object_url(output):
        if not output.endswith("/"):
            raise UsageError(
                f"a results file cannot be in a bucket: {output}", hint=f"For a run in parts: -o {output}/"
            )
        return True
    separators = (os.sep, *([os.altsep] if os.altsep else []))
    return output.endswith(separators) or os.path.isfile(os.path.join(output, "run.json"))


def has_other_keys(params: Mapping[str, Any]) -> bool:
    """Whether this process needs no key: the workers have their own, or nothing is sent."""
    return bool(params["plan_only"] or (params["dask"] is not None and not params["send_key"]))


def run(
    plan: "BatchPlan",
    *,
    location: str,
    settings: "Settings",
    key: str | None,
    params: Mapping[str, Any],
    schema: "Schema | None",
) -> None:
    """Run a batch in parts.

    Args:
        plan: the run as it would be with a results file.
        params: the command line, by the names of the parameters.
    """
    from ...batch.folders import parse_shard
    from ...batch.parts.connection import Credentials, build_access
    from ...batch.parts.output_folder import PartFormat
    from ...batch.parts.run_file import RunDescription
    from ...batch.parts.session import PartsPlan, run_in_parts
    from ...batch.parts.shares import RunLimits

    jobs, limits = batch_options.parse_jobs(params["jobs"]), plan.limits
    if params["part_format"] == FormatKind.PARQUET:
        from ...output.parquet import require_library

        require_library()
    run_in_parts(
        PartsPlan(
            location,
            replace(plan.inputs, selection=replace(plan.inputs.selection, shard=None)),
            RunDescription(
                plan.batch_request,
                None if schema is None else schema.document,
                None if schema is None else schema.name,
                retries=plan.retries,
                patience=plan.patience,
                request_timeout=plan.request_timeout,
                may_retry_incomplete=plan.may_retry_incomplete,
                is_verbose=plan.is_verbose,
                fetch=params["fetch"],
                profile=settings.profile,
                base_url=settings.base_url,
                folder=os.getcwd(),
                part_size=params["part_size"] or _DEFAULT_PART_SIZE,
            ),
            build_access(settings),
            RunLimits(jobs, params["rpm"], params["tpm"], limits.cost, limits.tokens, limits.seconds, limits.failures),
            None if has_other_keys(params) else Credentials(key, settings.headers, settings.query),
            None if params["shard"] is None else parse_shard(params["shard"]),
            _choose_executor(params, jobs),
            None if params["part_format"] is None else PartFormat(params["part_format"]),
            image_options.build_storage_options(settings),
            is_quiet=plan.is_quiet,
        )
    )


def _choose_executor(
    params: Mapping[str, Any], jobs: int | None
) -> "Callable[[], AbstractContextManager[PartExecutor]] | None":
    from ...batch.parts import executors

    if params["plan_only"]:
        return None
    if params["dask"] is not None:
        return partial(executors.open_dask, params["dask"])
    if params["processes"] is not None:
        return partial(executors.open_processes, _parse_processes(params["processes"]))
    return partial(executors.open_threads, _THREADS if jobs is None else min(jobs, _THREADS))


def _parse_processes(text: str) -> int:
    if (count := batch_options.parse_count("--processes", text, _MAX_PROCESSES)) is not None:
        return count
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
