"""The plan of a benchmark: the variants to compare, the images, and the order of the requests."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..describe.verdicts import Method
from ..errors import UsageError
from ..frozen import frozen
from ..library import image_options, judging, request_builder
from ..settings.fields import FIELDS, format_flag
from ..text import escape_control_characters

if TYPE_CHECKING:
    from ..client.request import Request
    from ..describe.run import DescribeFunction, RequestOptions
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..settings.fields import Settings
    from ..settings.presets import Preset
    from .labels import Expected

#: The settings that vary, in the order of their columns.
AXES = ("model", "max_pixels", "image_order", "think")
#: More variants than this are probably a mistake.
_MAX_VARIANTS = 64
_EXAMPLES = {
    "model": "Qwen/Qwen3-VL-Flash,Qwen/Qwen3-VL-Plus",
    "max_pixels": "262144,1048576,2621440",
    "image_order": "first,last",
    "think": "off,on",
}
#: Returns the preset and the settings of a variant with these values.
Resolve = Callable[[Mapping[str, Any]], "tuple[Preset | None, Settings]"]
#: The ``request``, ``describe`` and ``prepare`` of a ``Variant``.
_Parts = tuple["Request", "DescribeFunction", "Callable[[Request], Request]"]


@frozen
class Variant:
    """A model with settings, to be compared with others.

    Attributes:
        values: the settings that may vary, by name.
        request: the request, without an image, and with the prompt of images that have none of their own.
        describe: sends the request.
        prepare: turns the request into the one that ``describe`` sends first, to estimate its tokens.
        note: a note about its settings for the user.
    """

    values: Mapping[str, Any]
    request: "Request"
    limits: "ImageLimits"
    describe: "DescribeFunction"
    prepare: "Callable[[Request], Request]"
    note: str | None = None

    @property
    def model(self) -> str:
        """The requested model."""
        return self.request.model


@frozen
class Sample:
    """An image to ask about.

    Attributes:
        prompt: its own prompt; ``None`` for the prompt of the variant.
        expected: the expected answer; ``None`` without labels.
    """

    image: "Source"
    prompt: str | None = None
    expected: "Expected" = None


@frozen
class BenchPlan:
    """Everything that a benchmark does.

    Attributes:
        runs: requests for each image and variant.
        jobs: requests at once.
        is_judged: the prompts are yes-or-no questions, and the answers are verdicts.
        threshold: the minimum probability for yes.
        documents: the open documents of the pages among the images.
    """

    variants: Sequence[Variant]
    samples: Sequence[Sample]
    runs: int
    jobs: int
    request_options: "RequestOptions"
    is_judged: bool = False
    threshold: float = 0.5
    documents: "Documents | None" = None

    @property
    def has_labels(self) -> bool:
        """Whether there are expected answers."""
        return self.samples[0].expected is not None

    @property
    def varied(self) -> Sequence[str]:
        """The settings in which the variants differ, or the model if there is one variant."""
        return [name for name in AXES if len({variant.values[name] for variant in self.variants}) > 1] or ["model"]

    def name_variant(self, variant: Variant) -> str:
        """Name a variant by the values that distinguish it."""
        return ", ".join(_format_value(name, variant.values[name]) for name in self.varied)

    def get_request(self, variant: Variant, sample: int) -> "Request":
        """Return the request of a variant about an image, with the prompt of the image."""
        image, prompt = self.samples[sample].image, self.samples[sample].prompt
        request = variant.request if prompt is None else replace(variant.request, prompt=prompt)
        return request_builder.fill_placeholders(request, [image], sample + 1)

    @property
    def warm_up_count(self) -> int:
        """The number of requests that are not counted: at least one for each variant, and for each connection."""
        return max(len(self.variants), self.jobs)

    @property
    def request_count(self) -> int:
        """The number of requests that are counted."""
        return len(self.variants) * len(self.samples) * self.runs


def _format_value(name: str, value: Any) -> str:
    match name:
        case "max_pixels":
            return "original size" if value is None else f"{value:,} px"
        case "image_order":
            return f"image {value}"
        case "think":
            return "default thinking" if value is None else f"thinking {value}"
    return escape_control_characters(str(value))


@frozen
class Job:
    """One request.

    Attributes:
        variant: its position in the plan.
        sample: its position in the plan.
        run: the number of the run, from 1; 0 to warm up.
    """

    variant: int
    sample: int
    run: int


def list_warm_ups(plan: BenchPlan) -> Iterator[Job]:
    """List the requests that open the connections, load the models, and find out which parameters are rejected."""
    for number in range(plan.warm_up_count):
        yield Job(number % len(plan.variants), number % len(plan.samples), 0)


def list_jobs(plan: BenchPlan) -> Iterator[Job]:
    """List the requests, ordered so that changes over time affect all variants equally.

    The variants take turns at each image, and another variant begins each time.
    """
    count = len(plan.variants)
    for run, sample in itertools.product(range(plan.runs), range(len(plan.samples))):
        for turn in range(count):
            yield Job((run + sample + turn) % count, sample, run + 1)


def list_choices(lists: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """List the values of each variant: all combinations of the values in lists such as ``262144,1048576``.

    Args:
        lists: the lists by the names of the settings; ``None`` for a setting that does not vary.

    Raises:
        UsageError: a list is empty, one of its values is not valid, or there are too many combinations.
    """
    values = {name: _parse_list(name, text) for name, text in lists.items() if text is not None}
    choices = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    if len(choices) > _MAX_VARIANTS:
        sizes = " × ".join(str(len(items)) for items in values.values())
        raise UsageError(
            f"{sizes} values make {len(choices)} variants; at most {_MAX_VARIANTS} can be compared",
            hint="Vary one setting, choose its best value, and then vary the next one.",
        )
    return choices


def _parse_list(name: str, text: str) -> Sequence[Any]:
    flag = "--models" if name == "model" else format_flag(name)
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise UsageError(
            f"invalid value for {flag}: {text!r} has an empty item", hint="Separate the values with single commas."
        )
    values = []
    for word in words:
        try:
            values.append(FIELDS[name].parse(word))
        except ValueError as error:
            raise UsageError(
                f"invalid value for {flag}: {word} {error}", hint=f"For example: {flag} {_EXAMPLES[name]}"
            ) from error
    return list(dict.fromkeys(values))


@frozen
class QuestionOptions:
    """The options of the question, which are the same for all variants.

    Attributes:
        option_prompt: the text of ``-p``.
        argument_prompt: the prompt among the arguments.
        has_own_prompts: each image has a prompt of its own.
        extra: the fields that ``-O`` adds to the body.
        has_objects: some expected answers are objects.
        has_preset: the command line names a preset.
        is_judged: it is a yes-or-no question.
        by: the name of the method that answers a yes-or-no question; ``None`` for the first that the endpoint offers.
        threshold: the minimum probability for yes; ``None`` for 0.5.
    """

    option_prompt: str | None
    argument_prompt: str | None
    has_own_prompts: bool
    system: str | None
    schema: str | None
    extra: Mapping[str, Any]
    crop: str | None
    original: bool
    has_objects: bool
    has_preset: bool
    is_judged: bool
    by: str | None
    threshold: float | None


def build_variants(
    choices: Sequence[Mapping[str, Any]], resolve: Resolve, options: QuestionOptions
) -> tuple[list[Variant], "Settings"]:
    """Build the variants; return them with the settings of the first one. All have the same endpoint.

    Raises:
        QvisionError: a setting, an option or the prompt cannot be used.
    """
    resolved = [resolve(choice) for choice in choices]
    return list(_iterate_variants(resolved, options)), resolved[0][1]


def _iterate_variants(
    resolved: "Sequence[tuple[Preset | None, Settings]]", options: QuestionOptions
) -> Iterator[Variant]:
    for preset, settings in resolved:
        tile_options = image_options.read_tile_options(None, options.crop, None, has_schema=False)
        limits = image_options.build_image_limits(settings, tile_options, original=options.original)
        parts = _build_judged(settings, options) if options.is_judged else _build_described(preset, settings, options)
        request, describe, prepare = parts
        request_builder.check_placeholders(request, images=1)
        yield Variant(
            {
                "model": settings.required_model,
                "max_pixels": limits.max_pixels,
                "image_order": settings.image_order,
                "think": settings.think,
            },
            request,
            limits,
            describe,
            prepare,
            None if options.original else image_options.find_useless_pixels(settings, options.extra),
        )


def _build_judged(settings: "Settings", options: QuestionOptions) -> _Parts:
    if options.has_preset or options.system is not None:
        raise UsageError(
            "yes-or-no questions have neither a preset nor a system prompt",
            hint="Leave out -P and -s; or add --schema to compare values.",
        )
    prompt = options.option_prompt or options.argument_prompt
    if prompt is None and not options.has_own_prompts:
        raise UsageError(
            "there is no question",
            hint='For example: qvision bench --labels labels.jsonl "is a person visible?"',
        )
    text = "" if prompt is None else request_builder.validate_prompt(prompt, "the question")
    request = request_builder.build_request(settings, text, None, dict(options.extra), stream=False)
    method = None if options.by is None else Method(options.by)
    judge = judging.open_judge(settings, options.extra, by=method)
    return request, judge.describe, judge.build_request


def _build_described(preset: "Preset | None", settings: "Settings", options: QuestionOptions) -> _Parts:
    for option, value in (("--by", options.by), ("--threshold", options.threshold)):
        if value is not None:
            raise UsageError(
                f"{option} applies to yes-or-no questions",
                hint=f"They need --labels with only yes and no; otherwise leave out {option}.",
            )
    schema = request_builder.load_schema(options.schema, preset, options.extra)
    if options.has_objects and schema is None:
        raise UsageError(
            "some expected answers are objects, and there is no schema",
            hint='Add one: qvision bench --labels labels.jsonl --schema "shop, total number"',
        )
    prompt = request_builder.compose_prompt(options.option_prompt, options.argument_prompt, preset, settings)
    system = request_builder.choose_system(options.system, preset, settings)
    request = request_builder.build_request(settings, prompt, system, dict(options.extra), stream=True)
    describe = request_builder.choose_describe(schema, reads_tiles=False)
    return request, describe, partial(request_builder.add_response_format, schema=schema)
