"""The requests of a chat: each message becomes a request that fits into the model's context."""

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from ..client.request import Request
from ..describe import run
from ..describe.result import Description
from ..errors import ContextOverflow, EndpointError
from ..images.prepare import make_pending
from ..images.sources import find_link_secrets
from ..images.tokens import estimate_texts
from ..library import connection, request_builder
from ..metrics import get_number
from ..text import format_count, is_blank
from .conversation import Conversation, Turn, estimate_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..describe.run import Items
    from ..metrics import Price
    from ..settings.fields import Settings

#: Tokens for what a chat template adds to a message, and for errors of the estimates.
_MARGIN_TOKENS = 64
#: Hints for errors whose usual hint names an option, which does not help within a chat.
_HINTS = {
    "context_length_exceeded": "Start again with /clear, or send smaller images: qvision chat --max-pixels 1000000",
    "too_many_images": "To remove the question and its images, type /undo twice.",
    "no_vision": "Choose a model that reads images with /model NAME.",
}


class AnswerSource:
    """Requests answers from an endpoint, and remembers rejected parameters. A context manager that closes the connection.

    Args:
        key: the key to send.
        extra: further fields of the body.
        stream: request answers as streams.
        sends_soon: connect at once, because there is a message to send.
    """

    def __init__(
        self,
        settings: "Settings",
        key: str | None,
        *,
        extra: dict[str, object],
        stream: bool,
        prices: "Mapping[str, Price]",
        sends_soon: bool,
    ) -> None:
        self._settings = settings
        self._key = key
        self._extra = extra
        self._stream = stream
        self._prices = prices
        self._template = self._build_template(settings)
        self._endpoint = connection.open_endpoint(settings, key, connects_early=sends_soon)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._endpoint.close()

    @property
    def model(self) -> str:
        """The model in use."""
        return self._settings.required_model

    @property
    def name(self) -> str:
        """The name of what answers, for people."""
        return "the offline endpoint" if self._settings.offline else self.model

    @property
    def profile(self) -> str:
        """The profile that names the endpoint."""
        return self._settings.profile

    def _build_template(self, settings: "Settings") -> Request:
        return request_builder.build_request(settings, "", None, self._extra, stream=self._stream)

    def change_model(self, name: str) -> None:
        """Use another model of the endpoint."""
        settings = replace(self._settings, model=name)
        self._template = self._build_template(settings)
        self._settings = settings
        self._endpoint.close()
        self._endpoint = connection.open_endpoint(settings, self._key, connects_early=False)

    def answer(self, conversation: Conversation, prompt: str) -> "Items":
        """Request the answer to the next message; yield as ``describe.run.describe`` does.

        If the conversation does not fit into the model's context, the oldest turns are left out, with a warning.
        """
        self._endpoint.set_request_secrets(find_link_secrets(conversation.links))
        left_out = self._make_room(conversation, prompt)
        while True:
            items = self._send(conversation, prompt)
            with closing(items):
                for item in items:
                    if isinstance(item, Description):
                        break
                    yield item
                else:
                    raise AssertionError("the last item is a description")
            if (overflow := item.overflow or _get_overflow(item)) is not None:
                conversation.context_size = overflow.context_size or conversation.context_size
            if not _exceeds_context(item):
                break
            turns = conversation.leave_out(_compute_excess(_get_overflow(item)), self.model)
            if not turns:
                break
            left_out += turns
        yield _finish(item, left_out)
        if item.has_answer:
            self._template = replace(self._template, dropped=self._template.dropped | item.refused_parameters)

    def record_answer(self, conversation: Conversation, answer: Description) -> None:
        """Add an answer to the conversation, unless it is empty, and its tokens and cost, even if it is empty."""
        prompt_tokens, answer_tokens = _get_count(answer, "prompt_tokens"), _get_count(answer, "completion_tokens")
        if answer.has_answer:
            spending = conversation.spending
            spending.answers += 1
            spending.prompt_tokens += prompt_tokens or 0
            spending.answer_tokens += answer_tokens or 0
            if answer.cost is not None:
                spending.cost = (spending.cost or 0) + answer.cost.amount
        if not is_blank(answer.text):  # some servers refuse an empty message
            turn = Turn(
                prompt=answer.prompt or "",
                images=tuple(conversation.images),
                parts=conversation.build_parts(labels=self._settings.labels),
                answer=answer.text,
                is_complete=answer.error is None,
                model=answer.model,
                prompt_tokens=prompt_tokens,
                answer_tokens=answer_tokens,
            )
            conversation.add_turn(turn)

    def _send(self, conversation: Conversation, prompt: str) -> "Items":
        settings = self._settings
        request = conversation.build_request(self._template, prompt, labels=settings.labels)
        if conversation.context_size is not None and request.history and request.max_tokens is not None:
            # The endpoint would reject a higher limit, and all images would have to be sent again.
            room = conversation.context_size - self._estimate_prompt(conversation, prompt)
            if room >= ContextOverflow(conversation.context_size).usual_answer_tokens:
                request = replace(request, max_tokens=min(request.max_tokens, room))
        return run.describe(
            self._endpoint,
            request,
            [make_pending(image) for image in conversation.images],
            connection.build_request_options(settings, self._prices),
        )

    def _make_room(self, conversation: Conversation, prompt: str) -> list[Turn]:
        """Leave out the turns that do not fit by the estimate, and return them."""
        if conversation.context_size is None:
            return []
        answer_tokens = ContextOverflow(conversation.context_size).usual_answer_tokens
        excess = self._estimate_prompt(conversation, prompt) + answer_tokens - conversation.context_size
        return conversation.leave_out(excess, self.model) if excess > 0 else []

    def _estimate_prompt(self, conversation: Conversation, prompt: str) -> int:
        new = estimate_texts((prompt,)) + estimate_images(conversation.images, self.model)
        return conversation.estimate_history(self.model) + new + _MARGIN_TOKENS


def _exceeds_context(answer: Description) -> bool:
    return answer.error is not None and answer.error.code == "context_length_exceeded" and not answer.has_answer


def _get_overflow(answer: Description) -> ContextOverflow | None:
    return answer.error.context if isinstance(answer.error, EndpointError) else None


def _compute_excess(overflow: ContextOverflow | None) -> int | None:
    """Compute by how many tokens the history must become shorter; ``None`` if the endpoint does not say."""
    if overflow is None or overflow.tokens_left is None:
        return None
    return max(1, overflow.usual_answer_tokens - overflow.tokens_left)


def _finish(answer: Description, left_out: "Sequence[Turn]") -> Description:
    """Add a warning about the turns that were left out to an answer, and hints that work in a chat."""
    if left_out:
        turns = format_count(len(left_out), "old question")
        if images := sum(len(turn.images) for turn in left_out):
            turns += f" with {format_count(images, 'image')}"
        warning = f"the conversation is too long for the model's context; no longer sent: {turns}"
        answer = replace(answer, warnings=(*answer.warnings, warning))
    if answer.error is not None and answer.error.code in _HINTS:
        hint = _HINTS[answer.error.code]
        answer = replace(answer, error=answer.error.with_message(answer.error.message, hint=hint))
    return answer


def _get_count(answer: Description, name: str) -> int | None:
    count = get_number(answer.usage, name)
    return None if count is None else round(count)
