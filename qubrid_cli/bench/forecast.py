"""The forecast of a benchmark before it begins: the number of requests, and an estimate of tokens and cost."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..frozen import frozen
from ..images import tokens
from ..metrics import Cost, compute_cost
from ..text import format_count
from .export import SCHEMA_VERSION
from .plan import AXES, BenchPlan, Variant, list_warm_ups

if TYPE_CHECKING:
    from .measure import ImageStore


@frozen
class VariantForecast:
    """The prompt tokens of all requests of a variant, and their cost without the answers; both ``None`` if unknown."""

    variant: Variant
    name: str
    prompt_tokens: int | None
    cost: Cost | None


@frozen
class BenchForecast:
    """The requests that will be sent, including the warm-up."""

    plan: BenchPlan
    variants: Sequence[VariantForecast]

    @property
    def prompt_tokens(self) -> int | None:
        """The prompt tokens of all requests; ``None`` if unknown."""
        counts = [variant.prompt_tokens for variant in self.variants]
        return None if None in counts else sum(filter(None, counts))

    @property
    def cost(self) -> Cost | None:
        """The cost of all requests without the answers; ``None`` if unknown."""
        amounts = [variant.cost.amount for variant in self.variants if variant.cost is not None]
        return Cost(math.fsum(amounts)) if len(amounts) == len(self.variants) else None

    def list_notes(self) -> list[str]:
        """List the notes about the settings of the variants, without repetition."""
        return list(dict.fromkeys(f"note: {variant.note}" for variant in self.plan.variants if variant.note))

    def format_summary(self) -> str:
        """Format the number of requests and the estimates in one line."""
        plan = self.plan
        factors = [
            format_count(len(plan.variants), "variant"),
            format_count(len(plan.samples), "image"),
            format_count(plan.runs, "run"),
        ]
        parts = [
            f"{' × '.join(factors)} = {format_count(plan.request_count, 'request')}, and {plan.warm_up_count} to warm up"
        ]
        parts.append(
            "unknown number of prompt tokens"
            if self.prompt_tokens is None
            else f"about {self.prompt_tokens:,} prompt tokens"
        )
        if self.cost is not None:
            parts.append(f"{self.cost} without the answers")
        return "; ".join(parts)


def forecast(plan: BenchPlan, images: "ImageStore") -> BenchForecast:
    """Estimate the tokens and the cost of a benchmark whose images are prepared."""
    return BenchForecast(plan, list(_forecast_variants(plan, images)))


def _forecast_variants(plan: BenchPlan, images: "ImageStore") -> Iterator[VariantForecast]:
    for number, variant in enumerate(plan.variants):
        counts = [_estimate_tokens(plan, variant, images, index) for index in range(len(plan.samples))]
        warm_ups = [job.sample for job in list_warm_ups(plan) if job.variant == number]
        total = None
        if None not in counts:
            sendable = [count or 0 for count in counts]
            total = sum(sendable) * plan.runs + sum(sendable[index] for index in warm_ups)
        usage = None if total is None else {"prompt_tokens": total, "completion_tokens": 0}
        cost = compute_cost(plan.request_options.prices, variant.model, None, usage)
        yield VariantForecast(variant, plan.name_variant(variant), total, cost)


def _estimate_tokens(plan: BenchPlan, variant: Variant, images: "ImageStore", index: int) -> int | None:
    """Estimate the prompt tokens of one request; 0 for an image that cannot be sent, ``None`` if unknown."""
    if images.is_unusable(index, variant.limits):
        return 0
    request = variant.prepare(plan.get_request(variant, index))
    image = images.facts.get((index, variant.limits))
    return tokens.estimate_prompt(
        request.model,
        [None if image is None else (image.upload.width, image.upload.height)],
        [request.prompt, request.system or ""],
        detail=request.detail,
    )


def format_rows(result: BenchForecast) -> Iterator[Sequence[str]]:
    """Format a row for each variant: its name, the prompt tokens and the cost of all its requests."""
    for item in result.variants:
        count = "unknown" if item.prompt_tokens is None else f"{item.prompt_tokens:,}"
        yield item.name, count, "unknown" if item.cost is None else str(item.cost)


def json_forecast(result: BenchForecast) -> dict[str, Any]:
    """Return the object that ``--dry-run --json`` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": True,
        "images": [sample.image.name for sample in result.plan.samples],
        "runs": result.plan.runs,
        "jobs": result.plan.jobs,
        "requests": result.plan.request_count,
        "warm_up_requests": result.plan.warm_up_count,
        "tokens_estimate": result.prompt_tokens,
        "cost_estimate": None if result.cost is None else result.cost.amount,
        "variants": [
            {
                **{name: item.variant.values[name] for name in AXES},
                "tokens_estimate": item.prompt_tokens,
                "cost_estimate": None if item.cost is None else item.cost.amount,
            }
            for item in result.variants
        ],
    }
