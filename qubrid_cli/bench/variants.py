"""From the options of a command line to the variants that are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..frozen import frozen
from ..library import image_options, judging, question
from .plan import Axes, Variant

if TYPE_CHECKING:
    from ..describe.verdicts import Method
    from ..settings.fields import Settings
    from ..settings.presets import Preset

#: Returns the preset and the settings for the values of a variant.
Resolve = Callable[[Mapping[str, Any]], "tuple[Preset | None, Settings]"]


@frozen
class QuestionOptions:
    """What all variants are asked, and how.

    Attributes:
        option_prompt: the text of ``-p``.
        argument_prompt: the prompt among the arguments.
        has_own_prompts: each image has a prompt of its own.
        extra: the fields that ``-O`` adds to the body.
        has_preset: the command line names a preset.
        is_judged: it is a question of yes or no.
        by: how that is answered; ``None`` for the best way that the endpoint offers.
    """

    option_prompt: str | None
    argument_prompt: str | None
    has_own_prompts: bool
    system: str | None
    schema: str | None
    extra: Mapping[str, Any]
    crop: str | None
    original: bool
    has_preset: bool
    is_judged: bool
    by: "Method | None"


def build_variants(axes: Axes, resolve: Resolve, asked: QuestionOptions) -> tuple[list[Variant], "Settings"]:
    """The variants, and the settings of the first one, which has the same endpoint as the others.

    Raises:
        QvisionError: a setting, an option or the prompt cannot be used.
    """
    resolved = [resolve(choice) for choice in axes.list_choices()]
    return list(_iterate_variants(resolved, asked)), resolved[0][1]


def _iterate_variants(
    resolved: "Sequence[tuple[Preset | None, Settings]]", asked: QuestionOptions
) -> Iterator[Variant]:
    for preset, settings in resolved:
        parts = image_options.read_part_options(None, asked.crop, None, has_schema=False)
        limits = image_options.build_image_limits(settings, parts, original=asked.original)
        build = _build_judged if asked.is_judged else _build_described
        request, send, prepare = build(preset, settings, asked)
        question.check_placeholders(request, images=1)
        yield Variant(
            {
                "model": settings.required_model,
                "max_pixels": limits.max_pixels,
                "image_order": settings.image_order,
                "think": settings.think,
            },
            request,
            limits,
            send,
            prepare,
        )


def _build_judged(_: "Preset | None", settings: "Settings", asked: QuestionOptions) -> tuple[Any, Any, Any]:
    if asked.has_preset or asked.system is not None:
        raise UsageError(
            "questions of yes or no have neither a preset nor a system prompt",
            hint="Leave out -P and -s; or add --schema to compare values.",
        )
    prompt = asked.option_prompt or asked.argument_prompt
    if prompt is None and not asked.has_own_prompts:
        raise UsageError(
            "there is no question",
            hint='For example: qvision bench --labels labels.jsonl "is a person visible?"',
        )
    text = "" if prompt is None else question.validate_prompt(prompt, "the question")
    request = question.build_request(settings, text, None, dict(asked.extra), stream=False)
    judge = judging.open_judge(settings, asked.extra, by=asked.by)
    return request, judge.describe, judge.build_request


def _build_described(preset: "Preset | None", settings: "Settings", asked: QuestionOptions) -> tuple[Any, Any, Any]:
    if asked.by is not None:
        raise UsageError(
            "--by applies to questions of yes or no",
            hint="They need --labels with only yes and no; otherwise leave out --by.",
        )
    schema = question.load_schema(asked.schema, preset, asked.extra)
    prompt = question.compose_prompt(asked.option_prompt, asked.argument_prompt, preset, settings)
    system = asked.system or (preset.system if preset else None) or settings.system
    request = question.build_request(settings, prompt, system, dict(asked.extra), stream=True)
    describe = question.choose_describe(schema, reads_tiles=False)
    return (
        request,
        partial(describe, loop_check=settings.loop_check),
        partial(question.add_response_format, schema=schema),
    )
