"""Chunks of a stream, or one whole JSON document, become events. Pure.

Servers differ a lot, so everything is read tolerantly: a chunk may hold a piece of the answer, all of it, an error in
the vendor's own form, or figures only.

Source: OpenAI API reference, the streaming object of "Create chat completion"; Qubrid's documentation for
``x_metrics``.
"""

from collections.abc import Iterator
from typing import Any

from .events import (
    ChunkInfo,
    ErrorEvent,
    Event,
    Finish,
    ReasoningDelta,
    Refusal,
    TextDelta,
    ToolCall,
    find_cut_off,
    read_finish_reason,
)
from .reasoning import ReasoningSplitter, SurrogateJoiner, is_thinking_model

#: Keys of a chunk or a choice that hold more than text.
_NON_TEXT_KEYS = frozenset({"error", "usage", "cost", "x_metrics", "metrics", "timings", "base_resp"})
_REASONING_KEYS = ("reasoning_content", "reasoning")
#: Keys of a delta that hold something other than the text of the answer.
_OTHER_DELTA_KEYS = (*_REASONING_KEYS, "refusal", "tool_calls", "function_call")
#: Keys of a chat completion. An object without choices that has only such keys is an empty completion.
_COMPLETION_KEYS = _NON_TEXT_KEYS | {
    *("id", "object", "created", "model", "choices", "system_fingerprint", "service_tier", "provider", "request_id"),
}
#: Values of a vendor's status that stand for success.
_SUCCESS_CODES = frozenset({"", "0", "200", "ok", "success", "none", "null"})
_MESSAGE_KEYS = ("message", "msg", "detail", "error_msg", "error_message", "status_msg")


def is_completion(document: dict[str, Any]) -> bool:
    """Whether a whole document is a chat completion, perhaps an empty one, or reports an error."""
    kind = document.get("object")
    return (
        not {"choices", "content", "answers"}.isdisjoint(document)
        or (isinstance(kind, str) and kind.startswith(("chat.completion", "text_completion")))
        or (document.keys() <= _COMPLETION_KEYS and bool(document))
        or _reports_error(document)
    )


class ChunkReader:
    """Reads the chunks of an answer, and keeps an unfinished tag or character between them.

    Args:
        model: the requested model; its name may show that its text begins with reasoning.

    Attributes:
        is_done: ``[DONE]`` has arrived, so only figures are read.
        has_ended: an end or an error has arrived, and no text since.
        text_length: characters of text and reasoning so far.
    """

    def __init__(self, model: str = "") -> None:
        self.is_done = False
        self.has_ended = False
        self.text_length = 0
        self._is_cut_off = True  # until an ordinary end arrives
        self._has_deltas = self._has_reasoning_deltas = self._has_text = False
        self._has_refused = False
        self._index: int | None = None  # of the choice that is read
        self._splitter = ReasoningSplitter(is_thinking_model=is_thinking_model(model))
        self._last_identity: tuple[Any, Any] = (None, None)
        self._reasoning_joiner = SurrogateJoiner()

    def get_plain_text(self, chunk: Any) -> str | None:
        """The text of a chunk that holds only text and has the id and model of the previous chunk; else ``None``.

        A shortcut for nearly all of the thousands of chunks, in a third of the time of ``read_chunk``.
        """
        try:
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            text = delta["content"]
        except (LookupError, TypeError, ValueError):
            return None
        is_plain = (
            text
            and (len(delta) == 1 or not any(map(delta.get, _OTHER_DELTA_KEYS)))
            and choice.get("finish_reason") is None
            and not choice.get("logprobs")
            and (choice.get("index") or 0) == self._index
            and (chunk.get("id"), chunk.get("model")) == self._last_identity
            and chunk.get("object") != "error"
            and (_NON_TEXT_KEYS.isdisjoint(chunk) or not any(map(chunk.get, _NON_TEXT_KEYS)))
            and _NON_TEXT_KEYS.isdisjoint(choice)
            and not self.is_done
        )
        return text if is_plain and isinstance(text, str) else None

    def read_plain_text(self, text: str) -> Iterator[Event]:
        """Read the texts from ``get_plain_text``, joined."""
        if not text:
            return
        self._has_deltas = True
        if self._splitter.accept_plain(text):
            self.text_length += len(text)
            self.has_ended, self._has_text = False, True
            yield TextDelta(text)
        else:
            yield from self._read_text(text)

    def read_chunk(self, chunk: Any) -> Iterator[Event]:
        """Read a chunk of any kind, or a whole document; a value that is not an object is ignored."""
        if not isinstance(chunk, dict):
            return
        choice = self._get_choice(chunk)
        self._record_identity(chunk)
        if (info := _extract_info(chunk, choice)).to_dict():
            yield info
        if self.is_done:
            return
        yield from self._read_delta(_get_dict(choice, "delta"))
        if not self._has_deltas:  # after deltas, a whole message is the same answer once more
            yield from self._read_message(chunk, choice)
        if choice.get("logprobs") or "answers" in chunk:
            from .probabilities import read_decision, read_token_probabilities  # only some requests ask for them

            yield from read_token_probabilities(choice.get("logprobs"))
            yield from read_decision(chunk)
        if _reports_error(chunk):
            if not (self.has_ended and self._has_text):  # an error after a complete answer does not matter
                yield from self.flush()
                self.has_ended = True
                yield ErrorEvent(chunk)
        elif reason := read_finish_reason(choice.get("finish_reason", chunk.get("finish_reason"))):
            self._is_cut_off = find_cut_off(reason) is not None
            if not self._splitter.is_undecided:
                yield from self._flush_pieces()
            self.has_ended = True
            yield Finish(reason)

    def _record_identity(self, chunk: dict[str, Any]) -> None:
        """Record the id and the model for ``get_plain_text``; the text of another model may begin with reasoning."""
        identity = chunk.get("id"), chunk.get("model")
        if identity != self._last_identity:
            self._last_identity = identity
            if isinstance(identity[1], str) and is_thinking_model(identity[1]):
                self._splitter.expect_reasoning()

    def _get_choice(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The choice to read: the one with the lowest index in the first chunk that has any; empty if it is not here."""
        choices = {_get_index(choice): choice for choice in reversed(_get_choices(chunk))}
        if choices and self._index is None:
            self._index = min(choices)
        return choices.get(self._index, {}) if self._index is not None else {}

    def _read_delta(self, delta: dict[str, Any]) -> Iterator[Event]:
        self._has_deltas = self._has_deltas or bool(_extract_text(delta.get("content")) or delta.get("refusal"))
        self._has_reasoning_deltas = self._has_reasoning_deltas or any(map(delta.get, _REASONING_KEYS))
        yield from self._read_part(delta)

    def _read_message(self, chunk: dict[str, Any], choice: dict[str, Any]) -> Iterator[Event]:
        """Read a message: the whole answer or, from servers that send no deltas, a piece of it."""
        message = _get_dict(choice, "message")
        # The older completions API has ``text``; an older Qubrid address has the content at the top level.
        part = message or {"content": choice.get("text") or chunk.get("content")}
        if self._has_reasoning_deltas:
            part = {key: value for key, value in part.items() if key not in _REASONING_KEYS}
        yield from self._read_part(part)

    def _read_part(self, part: dict[str, Any]) -> Iterator[Event]:
        """Read the reasoning, the text, the refusal and the function calls of a delta or a message."""
        reasoning = part.get("reasoning_content") or part.get("reasoning")
        if isinstance(reasoning, str) and (text := self._reasoning_joiner.feed(reasoning)):
            self._splitter.expect_answer()
            self.text_length += len(text)
            self.has_ended = False
            yield ReasoningDelta(text)
        yield from self._read_text(_extract_text(part.get("content")))
        refusal = part.get("refusal")  # OpenAI's models decline in a separate field
        if isinstance(refusal, str) and refusal:
            if not self._has_refused:
                self._has_refused = True
                yield Refusal()
            yield from self._read_text(refusal)
        calls = part.get("tool_calls") or [{"function": part.get("function_call")}]
        for call in calls if isinstance(calls, list) else ():
            name = _get_dict(call, "function").get("name") if isinstance(call, dict) else None
            if isinstance(name, str) and name:
                yield ToolCall(name)

    def _read_text(self, text: str) -> Iterator[Event]:
        if text:
            self.text_length += len(text)
            self.has_ended, self._has_text = False, True
            yield from self._splitter.feed(text)

    def read_done(self) -> Iterator[Event]:
        """Read ``[DONE]``; if no ``finish_reason`` came before it, this is an ordinary end."""
        self._is_cut_off = self._is_cut_off and self.has_ended
        yield from self.flush()
        self.is_done = self.has_ended = True
        yield Finish(None)

    def flush(self) -> Iterator[Event]:
        """Yield text that was held back, because it might have been reasoning, or part of a tag or a character."""
        if self._splitter.is_undecided and self._is_cut_off:
            yield from self._splitter.end_in_reasoning()
        yield from self._flush_pieces()

    def _flush_pieces(self) -> Iterator[Event]:
        if reasoning := self._reasoning_joiner.feed("", last=True):
            yield ReasoningDelta(reasoning)
        yield from self._splitter.feed("", last=True)
        if self._splitter.has_empty_reasoning:  # nothing to show, but the model was working
            yield ReasoningDelta("")


def _get_choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _get_index(choice: dict[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _get_dict(values: dict[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _extract_text(content: Any) -> str:
    if isinstance(content, list):  # a list of parts, as in requests
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _extract_info(chunk: dict[str, Any], choice: dict[str, Any]) -> ChunkInfo:
    def get_text(name: str) -> str | None:
        value = chunk.get(name)
        return value if isinstance(value, str) and value else None

    def get_object(name: str) -> dict[str, Any] | None:
        value = chunk.get(name) or choice.get(name)  # a few servers put usage into the choice
        return value if isinstance(value, dict) and value else None

    metrics = get_object("x_metrics") or get_object("metrics") or get_object("timings")
    return ChunkInfo(get_text("id"), get_text("model"), get_object("usage"), metrics, chunk.get("cost"))


def _reports_error(chunk: dict[str, Any]) -> bool:
    """Whether a chunk reports an error, in the vendor's own form too; a status of success beside choices does not."""
    choices = _get_choices(chunk)
    if chunk.get("object") == "error" or any(map(_is_error, (chunk, *choices))):
        return True
    if _is_failure_code(_get_dict(chunk, "base_resp").get("status_code")):  # MiniMax
        return True
    if any(choices) or chunk.get("content"):
        return False
    has_message = any(isinstance(chunk.get(key), str) and chunk[key] for key in _MESSAGE_KEYS)
    is_failure = chunk.get("success") is False or chunk.get("type") == "error" or _is_failure_code(chunk.get("code"))
    return has_message and is_failure


def _is_error(value: dict[str, Any]) -> bool:
    error = value.get("error")
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _is_failure_code(code: Any) -> bool:
    if code is None or isinstance(code, bool | dict | list):
        return False
    return str(code).strip().lower().removesuffix(".0") not in _SUCCESS_CODES
