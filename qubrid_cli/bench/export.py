"""The outcome of a benchmark for programs: a JSON object, or a table with a line for each variant."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..describe.record import json_error
from ..errors import QvisionError
from ..text import escape_control_characters
from . import scores
from .measure import Measurement
from .outcome import BenchResult, LabelScores, VariantResult, score_measurement
from .plan import AXES

SCHEMA_VERSION = 1


def json_result(result: BenchResult) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    plan = result.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": result.error is None,
        "complete": result.is_complete,
        "images": [sample.image.name for sample in plan.samples],
        "expected": [sample.expected for sample in plan.samples] if plan.has_labels else None,
        "runs": plan.runs,
        "jobs": plan.jobs,
        "requests": plan.request_count,
        "warm_up_requests": plan.warm_up_count,
        "threshold": plan.threshold if plan.is_judged else None,
        "variants": [_json_variant(variant) for variant in result.variants],
        "best": result.best,
        "choice": result.choice,
        "choice_by": result.choice_by,
        "measurements": [_json_measurement(result, item) for item in result.measurements],
        "error": None if result.error is None else json_error(result.error),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def json_failure(error: QvisionError) -> dict[str, Any]:
    """Return the object of a benchmark that did not begin."""
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": False,
        "complete": False,
        "variants": [],
        "measurements": [],
        "error": json_error(error),
    }


def _json_variant(result: VariantResult) -> dict[str, Any]:
    values = result.figures
    return {
        **{name: result.variant.values[name] for name in AXES},
        "prompt": result.variant.request.prompt,
        "answers": values.answers,
        "failed": values.failure_count,
        "failures": [asdict(failure) for failure in values.failures],
        "unreachable": None if result.unreachable is None else result.unreachable.message,
        "retried": values.retried,
        "warnings": list(result.warnings),
        "server": asdict(values.server),
        "local": asdict(values.local),
        **{
            name: None if (distribution := getattr(values, name)) is None else asdict(distribution)
            for name in ("prepare_seconds", "prompt_tokens", "completion_tokens")
        },
        "cost": {"mean": values.mean_cost, "total": values.total_cost, "currency": "USD"},
        "scores": None if result.label_scores is None else _json_scores(result.label_scores),
    }


def _json_scores(label_scores: LabelScores) -> dict[str, Any]:
    confusion, calibration = label_scores.confusion, label_scores.calibration
    return {
        "score": label_scores.score.value,
        "error": label_scores.score.error,
        "exact_match": label_scores.exact,
        "token_f1": None if label_scores.exact is None else label_scores.score.value,
        **_json_confusion(confusion),
        "calibration": None
        if calibration is None
        else {
            "threshold": calibration.threshold,
            "low": calibration.low,
            "high": calibration.high,
            **_json_confusion(calibration.at_threshold),
            "rows": [
                {"threshold": row.threshold, "answers": row.answers, "yes_share": row.yes_share}
                | _json_confusion(row.confusion)
                for row in calibration.rows
            ],
        },
    }


def _json_confusion(confusion: scores.Confusion | None) -> dict[str, Any]:
    names = ("accuracy", "precision", "recall", "f1")
    return {
        **{name: None if confusion is None else getattr(confusion, name) for name in names},
        "counts": None if confusion is None else asdict(confusion),
    }


def _json_measurement(result: BenchResult, item: Measurement) -> dict[str, Any]:
    answer = item.answer
    return {
        "variant": item.job.variant,
        "image": item.job.sample,
        "run": item.job.run,
        "ok": answer.error is None,
        "text": answer.text,
        "data": answer.data,
        "score": None if (score := score_measurement(result.plan, item)) is None else score.f1,
        "usage": answer.usage,
        "x_metrics": answer.metrics,
        "timing": asdict(answer.timing),
        "cost": None if answer.cost is None else answer.cost.amount,
        "error": None if answer.error is None else json_error(answer.error),
    }


# Lines for other programs

_PERCENTILES = ("min", "p50", "p95")


def format_lines(result: BenchResult) -> Iterator[str]:
    """Format a table with tabs: a line of column names, then one line for each variant."""
    names, columns = zip(*list_columns(result), strict=True)
    yield "\t".join(names)
    for row in zip(*columns, strict=True):
        yield "\t".join("" if value is None else escape_control_characters(str(value)) for value in row)


def list_columns(result: BenchResult) -> Iterator[tuple[str, list[object]]]:
    """List the columns of that table: the name of each, and its values."""
    variants = result.variants
    for name in AXES:
        yield name, [variant.variant.values[name] for variant in variants]
    yield "answers", [variant.figures.answers for variant in variants]
    yield "failed", [variant.figures.failure_count for variant in variants]
    for source in ("server", "local"):
        for name in ("ttft_seconds", "tokens_per_second", "total_seconds"):
            distributions = [getattr(getattr(variant.figures, source), name) for variant in variants]
            for percentile in _PERCENTILES:
                yield f"{source}_{name}_{percentile}", [getattr(item, percentile, None) for item in distributions]
    for name in ("prompt_tokens", "completion_tokens"):
        distributions = [getattr(variant.figures, name) for variant in variants]
        yield f"{name}_p50", [getattr(item, "p50", None) for item in distributions]
    yield "mean_cost", [variant.figures.mean_cost for variant in variants]
    if result.plan.has_labels:
        label_scores = [variant.label_scores for variant in variants]
        yield "score", [None if item is None else item.score.value for item in label_scores]
        yield "score_error", [None if item is None else item.score.error for item in label_scores]
        calibrations = [None if item is None else item.calibration for item in label_scores]
        if result.plan.is_judged:
            yield "threshold", [None if item is None else item.threshold for item in calibrations]
        yield "choice", ["*" if number == result.choice else None for number in range(len(variants))]
