"""Responses with status 200 that hold no answer, as servers send them, with the code of the error that they become."""

import json

from .server import DONE, EVENT_STREAM, JSON, Reply, delta, event


def whole(**choice: object) -> Reply:
    return Reply([json.dumps({"id": "c-1", "model": "m", "choices": [{"index": 0, **choice}]}).encode()], headers=JSON)


def chunks(*deltas: dict[str, object], finish: str | None = "stop") -> Reply:
    events = [event({"choices": [{"index": 0, "delta": one}]}) for one in deltas]
    return Reply([*events, event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}), DONE])


TOOLS = [{"index": 0, "id": "t", "type": "function", "function": {"name": "look", "arguments": "{}"}}]

#: The replies that a batch requests again.
EMPTY = {
    "choices null": Reply([b'{"choices": null, "base_resp": {"status_code": 0, "status_msg": ""}}'], headers=JSON),
    "choices empty": Reply([event({"choices": []}), DONE]),
    "no choices": Reply([b'{"id": "c-1", "object": "chat.completion", "model": "m"}'], headers=JSON),
    "no text, streamed": Reply([delta("", finish="stop"), DONE]),
    "no text": whole(message={"role": "assistant", "content": None}, finish_reason="stop"),
    "blanks, streamed": Reply([delta(" \n"), delta("\n\t", finish="stop"), DONE]),
    "blanks": whole(message={"content": "\n\n"}, finish_reason="stop"),
    "only reasoning, streamed": chunks({"reasoning_content": "A cat"}, {"reasoning_content": "?"}),
    "only reasoning, in tags": whole(message={"content": "<think>A cat?</think>\n"}, finish_reason="stop"),
    "only tool calls, streamed": chunks({"tool_calls": TOOLS}, finish="tool_calls"),
    "only tool calls": whole(message={"content": None, "tool_calls": TOOLS}, finish_reason="tool_calls"),
    "old address": Reply([b'{"content": "", "metrics": {"tps": null}, "model": "m"}'], headers=JSON),
}
#: The same with another code, or not worth another request.
UNANSWERED = {
    **dict.fromkeys(EMPTY, "empty_answer"),
    "out of tokens, streamed": "empty_answer",
    "out of tokens": "empty_answer",
    "refusal, streamed": "refusal",
    "refusal": "refusal",
    "refused by reason": "refusal",
    "filtered, streamed": "refusal",
    "vendor's status": "1008",
    "vendor's status, streamed": "1113",
    "error in the choice": "502",
    "error field": "500",
}
REPLIES = EMPTY | {
    "out of tokens, streamed": chunks({"reasoning": "Hm"}, finish="length"),
    "out of tokens": whole(message={"content": "", "reasoning_content": "Hm"}, finish_reason="MAX_TOKENS"),
    "refusal, streamed": chunks({"refusal": "I can"}, {"refusal": "not."}),
    "refusal": whole(message={"content": None, "refusal": "I cannot."}, finish_reason="stop"),
    "refused by reason": whole(message={"content": "I cannot."}, finish_reason="refusal"),
    "filtered, streamed": chunks({"content": ""}, finish="content_filter"),
    "vendor's status": Reply([b'{"choices":null,"base_resp":{"status_code":1008,"status_msg":"no"}}'], headers=JSON),
    "vendor's status, streamed": Reply([event({"code": 1113, "msg": "no"})]),
    "error in the choice": Reply([event({"choices": [{"delta": {}, "error": {"code": 502, "message": "no"}}]}), DONE]),
    "error field": Reply([b'error: {"code": 500, "message": "no"}\n\n', DONE], headers=EVENT_STREAM),
}
