"""A conversation: questions with their images, and answers. Images that were sent do not change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..client.request import ImagePart, Message, Request
from ..describe.prompt import build_parts
from ..frozen import frozen
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..images.sources import Link
from ..images.tokens import estimate_prompt, estimate_texts

#: Tokens of an image if its size is unknown, or the rule of the model: about those of one megapixel.
_USUAL_IMAGE_TOKENS = 1_000


@frozen
class Turn:
    """A question and its answer.

    Attributes:
        parts: the images as they were sent.
        is_complete: the model finished its answer.
        model: the model that answered; ``None`` if unknown, like the token counts.
        is_left_out: it is no longer sent, because the conversation did not fit into the model's context.
    """

    prompt: str
    images: tuple[PreparedImageOrLink, ...]
    parts: tuple[ImagePart, ...]
    answer: str
    is_complete: bool = True
    model: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    is_left_out: bool = False

    def estimate_tokens(self, model: str) -> int:
        """Estimate the tokens of the question and the answer."""
        return estimate_images(self.images, model) + estimate_texts((self.prompt, self.answer))


def estimate_images(images: Sequence[PreparedImageOrLink], model: str) -> int:
    """Estimate the tokens of images."""
    total = 0
    for image in images:
        sizes = [(upload.width, upload.height) for upload in image.uploads] if isinstance(image, PreparedImage) else []
        tokens = estimate_prompt(model, sizes, ()) if sizes else None
        total += max(1, len(sizes)) * _USUAL_IMAGE_TOKENS if tokens is None else tokens
    return total


@dataclass(slots=True)
class Spending:
    """The tokens and the cost of all answers of a conversation, including undone ones.

    Attributes:
        cost: in US dollars; ``None`` if no answer had a price.
    """

    answers: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost: float | None = None


@dataclass(slots=True)
class Conversation:
    """The turns so far, and the next message.

    Attributes:
        system: the system prompt, for all turns.
        images: the images of the next message.
        prompt: a question that has no answer yet, which can be sent again; ``None`` if there is none.
        context_size: the tokens that fit into the model's context; ``None`` until the endpoint states it.
    """

    system: str | None = None
    turns: list[Turn] = field(default_factory=list)
    images: list[PreparedImageOrLink] = field(default_factory=list)
    prompt: str | None = None
    spending: Spending = field(default_factory=Spending)
    context_size: int | None = None

    @property
    def all_images(self) -> list[PreparedImageOrLink]:
        """The images of all turns, then those of the next message."""
        return [image for turn in self.turns for image in turn.images] + self.images

    @property
    def links(self) -> list[Link]:
        """The links, which the endpoint fetches itself."""
        return [image for image in self.all_images if isinstance(image, Link)]

    @property
    def sent_turns(self) -> list[Turn]:
        """The turns that are part of the next request."""
        return [turn for turn in self.turns if not turn.is_left_out]

    def build_parts(self, *, labels: bool) -> tuple[ImagePart, ...]:
        """Build the parts of the next message that are images.

        Args:
            labels: number the images, across all messages.
        """
        return build_parts(self.images, labels=labels, first=1 + sum(len(turn.images) for turn in self.turns))

    def build_request(self, template: Request, prompt: str, *, labels: bool) -> Request:
        """Build the request for the next answer.

        Args:
            template: a request with the model and the parameters.
            labels: as for ``build_parts``.
        """
        return replace(
            template,
            system=self.system,
            prompt=prompt,
            images=self.build_parts(labels=labels),
            history=tuple(message for turn in self.sent_turns for message in _build_messages(turn)),
        )

    def estimate_history(self, model: str) -> int:
        """Estimate the tokens of the turns that are sent, from the server's counts for the last one if they are known.

        Its answer is counted without the reasoning, which is not sent back.
        """
        turns = self.sent_turns
        if not turns:
            return 0
        last = turns[-1]
        if last is not self.turns[-1] or last.prompt_tokens is None or last.answer_tokens is None:
            return sum(turn.estimate_tokens(model) for turn in turns)
        return last.prompt_tokens + min(last.answer_tokens, len(last.answer))

    def add_turn(self, turn: Turn) -> None:
        """Add a turn: the next message with its answer. The next message is then empty."""
        self.turns.append(turn)
        self.images.clear()
        self.prompt = None

    def undo(self) -> Turn | None:
        """Remove the last turn and return it; its images become part of the next message again."""
        if not self.turns:
            return None
        turn = self.turns.pop()
        self.images[:0] = turn.images
        return turn

    def clear(self) -> None:
        """Remove all turns; their images become part of the next message again."""
        self.prompt = None
        self.images = self.all_images
        self.turns.clear()

    def leave_out(self, tokens: int | None, model: str) -> list[Turn]:
        """Leave out the oldest turns until the history is shorter by a number of tokens; return these turns.

        Turns with images are left out only if there are no others, because the conversation is about the images.

        Args:
            tokens: the number; ``None`` if unknown, to leave out half of the turns.
        """
        sent = [index for index, turn in enumerate(self.turns) if not turn.is_left_out]
        order = [index for index in sent if not self.turns[index].images] or sent
        freed, left_out = 0, list[Turn]()
        for index in order:
            if left_out and (len(left_out) >= len(order) / 2 if tokens is None else freed >= tokens):
                break
            turn = self.turns[index]
            freed += turn.estimate_tokens(model)
            left_out.append(turn)
            self.turns[index] = replace(turn, is_left_out=True)
        if left_out:  # the server's count includes turns that are no longer sent
            self.turns[-1] = replace(self.turns[-1], prompt_tokens=None)
        return left_out


def _build_messages(turn: Turn) -> Iterator[Message]:
    yield Message("user", turn.prompt, turn.parts)
    yield Message("assistant", turn.answer)
