"""Answers that must fit a schema: the real program against servers that like schemas, and servers that do not."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from qubrid_cli.client import request
from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.errors.body import parse_error_body
from qubrid_cli.client.errors.rules import build_error
from qubrid_cli.client.retry import RetryLimits
from qubrid_cli.describe.fallbacks import find_fallback
from qubrid_cli.describe.result import Description
from qubrid_cli.describe.run import RequestOptions, collect
from qubrid_cli.describe.structured import Session
from qubrid_cli.errors import SchemaMismatchError
from qubrid_cli.schema.json_schema import load_schema as schema

from ..commands.test_describe import validated
from ..conftest import Ask, environment
from ..output import test_terminal
from ..output.test_terminal import Screen, Terminal
from ..support.server import DONE, USAGE, Asked, Hold, Reply, Server, delta, figures, refusal, stream

on_a_terminal = test_terminal.run  # the fixture
FORM = "shop, total number, items [string]"
DOCUMENT = schema(FORM, where="--schema").document
VALUE = {"shop": "Kiosk", "total": 12.5, "items": ["tea", "Brötchen"]}
GOOD = json.dumps(VALUE, ensure_ascii=False)
LINE = json.dumps(VALUE, ensure_ascii=False, separators=(",", ":")) + "\n"
WRONG = '{"shop": "Kiosk", "total": "12,50", "items": ["tea", 5]}'
WRONG_SAYS = ["total: '12,50' is not of type 'number'", "items.1: 5 is not of type 'string'"]


def form_of(asked: Asked) -> str | None:
    """The kind of ``response_format`` that was asked for."""
    found = asked.json.get("response_format")
    return None if found is None else str(found["type"])


def refusing(*kinds: str, reply: Reply, text: str = GOOD) -> Callable[[Asked], Reply]:
    """A server that takes no request with these kinds of ``response_format``."""
    return lambda asked: reply if form_of(asked) in kinds else stream(text)


def in_turn(*texts: str) -> Callable[[Asked], Reply]:
    """A server that answers with one text after the other."""
    left = iter(texts)
    return lambda _: stream(next(left))


def test_the_request_has_the_schema_and_the_value_is_printed_on_one_line(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = stream(*GOOD)
    run = describe(lighthouse, "read it", "--schema", FORM)
    assert (run.exit_code, run.stdout.decode(), run.stderr) == (0, LINE, "")
    (asked,) = server.asked
    assert asked.json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": DOCUMENT, "strict": True},
    }


def test_the_prompt_also_contains_the_schema_for_servers_that_ignore_the_field(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = stream(GOOD)
    run = describe(lighthouse, "read it", "--schema", FORM, "--json")
    said = server.asked[0].json["messages"][0]["content"][0]["text"]
    assert said.startswith("read it\n\nAnswer in JSON: ")
    assert json.loads(said.rpartition("\n")[2]) == DOCUMENT
    assert run.json["prompt"] == "read it"


def test_jq_reads_what_is_piped_to_it(server: Server, lighthouse: Path, quick_program: list[str]) -> None:
    server.answer = stream(f"```json\n{GOOD}\n```")
    read_total = "import json, sys; print(json.load(sys.stdin)['total'])"
    script = f"{shlex.join(quick_program)} describe {lighthouse} --schema '{FORM}' | python3 -c \"{read_total}\""
    env = environment({"QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"12.5\n", b"")


def test_json_has_the_value_in_data_and_the_words_in_text(describe: Ask, server: Server, lighthouse: Path) -> None:
    text = f"<think>hm {{}}</think>Here it is:\n\n```json\n{GOOD}\n```\nAnything else?"
    server.answer = stream(text)
    found = describe(lighthouse, "--schema", FORM, "--json").json
    assert (found["ok"], found["complete"], found["data"], found["text"], found["reasoning"]) == (
        True,
        True,
        VALUE,
        text.partition("</think>")[2],
        "hm {}",
    )


REFUSED = refusal(400, {"error": {"message": "'response_format.type' must be 'json_schema' or 'text'"}})
IN_THE_STREAM = Reply([b'data: {"error": {"message": "json_schema is not supported", "code": 400}}\n\n', DONE])


@pytest.mark.parametrize("reply", [REFUSED, refusal(500, {"error": "Failed to parse grammar"}), IN_THE_STREAM])
def test_a_server_that_refuses_json_schema_is_asked_for_a_json_object(
    describe: Ask, server: Server, lighthouse: Path, reply: Reply
) -> None:
    server.answer = refusing("json_schema", reply=reply)
    run = describe(lighthouse, "--schema", FORM, "--json")
    assert (run.exit_code, run.json["data"]) == (0, VALUE)
    assert [form_of(asked) for asked in server.asked] == ["json_schema", "json_object"]
    assert run.json["warnings"] == ["the endpoint refused json_schema, so json_object was sent instead"]


def test_a_server_that_refuses_both_gets_only_the_prompt(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = refusing("json_schema", "json_object", reply=REFUSED)
    run = describe(lighthouse, "--schema", FORM, "--json")
    assert (run.exit_code, run.json["data"]) == (0, VALUE)
    assert [form_of(asked) for asked in server.asked] == ["json_schema", "json_object", None]
    assert run.json["warnings"] == [
        "the endpoint refused json_schema, so json_object was sent instead",
        "the endpoint refused json_object, so only the prompt asks for JSON",
    ]
    assert "JSON" in server.asked[2].json["messages"][0]["content"][0]["text"]


REQUEST = request.Request(
    "m",
    "read it",
    (),
    max_tokens=1,
    temperature=0.0,
    top_p=1.0,
    response_format=request.ResponseFormat(DOCUMENT, "Answer in JSON."),
)


def simpler(status: int, payload: object) -> frozenset[str] | None:
    """What is left out when a server answers so."""
    found = find_fallback(REQUEST, build_error(parse_error_body(payload, status=status, host="h")))
    return None if found is None else found[0].dropped


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (400, {"error": {"message": "This response_format type is unavailable now"}}),
        (400, {"error": {"message": "Invalid schema for response_format 'answer': 'required' is required"}}),
        (400, {"error": {"message": "This model does not support response format `json_schema`."}}),
        (400, {"error": {"message": "Structured outputs are not supported by this model"}}),
        (400, {"object": "error", "message": "Grammar error: unsupported type"}),
        (404, {"error": {"message": "No endpoints found that support structured outputs"}}),
        (422, {"detail": [{"loc": ["body", "response_format", "json_schema"], "msg": "Extra inputs"}]}),
        (422, {"detail": "Unexpected keys in the request: {'response_format'}"}),
        (500, {"error": {"code": 500, "message": "Failed to parse grammar", "type": "server_error"}}),
        (501, {"error": {"message": "guided decoding is not supported"}}),
        (400, {"error": {"message": "Bad Request"}}),
        (400, {"error": "unsupported parameter"}),
        (400, ""),
        (422, {}),
    ],
)
def test_json_schema_is_left_out_if_a_server_refuses_it(status: int, payload: object) -> None:
    assert simpler(status, payload) == frozenset({"json_schema"})


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (400, {"error": {"message": "the image cannot be decoded"}}),
        (401, {"error": {"message": "no json_schema without a key"}}),
        (404, {"error": {"message": "The model m does not exist"}}),
        (429, {"error": {"message": "too many requests with json_schema"}}),
        (500, {"error": {"message": "Internal Server Error"}}),
        (500, ""),
    ],
)
def test_another_refusal_leaves_nothing_out(status: int, payload: object) -> None:
    assert simpler(status, payload) is None


def test_a_list_is_not_asked_for_as_a_json_object(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.json").write_text('{"type": "array", "items": {"type": "integer"}}')
    server.answer = refusing("json_schema", reply=REFUSED, text="[1, 2]")
    run = describe(lighthouse, "--schema", "list.json")
    assert ([form_of(asked) for asked in server.asked], run.stdout) == (["json_schema", None], b"[1,2]\n")


def test_a_refused_parameter_is_remembered_for_the_run(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = refusing("json_schema", reply=REFUSED)
    run = describe(lighthouse, lighthouse, lighthouse, "--each", "--schema", FORM, "--json")
    assert [form_of(asked) for asked in server.asked] == ["json_schema", *["json_object"] * 3]
    assert [(found["data"], len(found["warnings"])) for found in run.json_lines] == [(VALUE, 1), (VALUE, 0), (VALUE, 0)]


def test_a_request_that_failed_in_every_form_leaves_nothing_to_remember(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    replies = iter([*[refusal(400, "")] * 3, stream(GOOD)])
    server.answer = lambda _: next(replies)
    run = describe(lighthouse, lighthouse, "--each", "--schema", FORM)
    assert [form_of(asked) for asked in server.asked] == ["json_schema", "json_object", None, "json_schema"]
    assert (run.exit_code, run.stdout.decode()) == (5, LINE)


def test_an_invalid_answer_is_repaired_by_naming_its_problems(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn(WRONG, GOOD)
    run = describe(lighthouse, "read it", "--schema", FORM, "--json")
    first, second = (asked.json for asked in server.asked)
    validated(second)
    said, asked_again = second["messages"][1:]
    assert {**second, "messages": second["messages"][:1]} == first
    assert said == {"role": "assistant", "content": WRONG}
    assert asked_again["role"] == "user"
    assert [line[2:] for line in asked_again["content"].splitlines() if line.startswith("- ")] == WRONG_SAYS
    found = run.json
    assert (run.exit_code, found["data"], found["text"]) == (0, VALUE, GOOD)
    assert found["warnings"] == ["the first answer did not fit the schema, so a second one was requested"]


def test_both_requests_of_a_repair_are_counted(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn(WRONG, GOOD)
    found = describe(lighthouse, "--schema", FORM, "--json").json
    assert found["usage"] == {name: 2 * count for name, count in USAGE.items()}
    assert len(found["images"]) == 1


def test_two_invalid_answers_print_nothing_and_exit_8(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn(WRONG, WRONG)
    run = describe(lighthouse, "--schema", FORM)
    assert (run.exit_code, run.stdout) == (8, b"")
    assert run.stderr.splitlines()[1:] == [
        f"error: the answer does not fit the schema: {WRONG_SAYS[0]} (and 1 more)",
        "hint: --json keeps the answer's text; a simpler schema or another model may work better.",
    ]


def test_json_keeps_the_text_of_an_answer_that_does_not_fit(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn("No.", WRONG)
    run = describe(lighthouse, "--schema", FORM, "--json")
    found = run.json
    assert (run.exit_code, found["ok"], found["complete"], found["data"], found["text"]) == (
        8,
        False,
        True,
        None,
        WRONG,
    )
    assert found["error"]["code"] == "schema_mismatch"


def test_a_repair_does_not_repeat_a_refused_parameter(describe: Ask, server: Server, lighthouse: Path) -> None:
    texts = iter([WRONG, GOOD])
    server.answer = lambda asked: REFUSED if form_of(asked) == "json_schema" else stream(next(texts))
    run = describe(lighthouse, "--schema", FORM, "--json")
    assert [form_of(asked) for asked in server.asked] == ["json_schema", "json_object", "json_object"]
    assert (run.exit_code, run.json["warnings"]) == (
        0,
        [
            "the endpoint refused json_schema, so json_object was sent instead",
            "the first answer did not fit the schema, so a second one was requested",
        ],
    )


def test_a_repair_that_fails_keeps_the_first_text_and_says_why(describe: Ask, server: Server, lighthouse: Path) -> None:
    replies = iter([stream(WRONG), refusal(402, {"error": {"message": "No credits."}})])
    server.answer = lambda _: next(replies)
    run = describe(lighthouse, "--schema", FORM, "--json")
    found = run.json
    assert (run.exit_code, found["text"], found["usage"], found["error"]["code"]) == (
        5,
        WRONG,
        USAGE,
        "insufficient_quota",
    )


def test_a_repair_is_retried_after_a_temporary_error_and_the_first_answer_is_kept(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    busy = refusal(503, {"error": {"message": "busy"}}, **{"Retry-After": "0"})
    replies = iter([stream(WRONG), busy, busy, stream(GOOD)])
    server.answer = lambda _: next(replies)
    run = describe(lighthouse, "--schema", FORM, "--json")
    assert [len(asked.json["messages"]) for asked in server.asked] == [1, 3, 3, 3]
    assert (run.exit_code, run.json["usage"]) == (0, {name: 2 * count for name, count in USAGE.items()})


@pytest.mark.parametrize("text", ["", "I'm sorry, but I can't help with that.", "[" * 100_000])
def test_an_answer_without_json_is_requested_once_more(
    describe: Ask, server: Server, lighthouse: Path, text: str
) -> None:
    server.answer = in_turn(text, GOOD)
    run = describe(lighthouse, "--schema", FORM, "--no-loop-check")
    assert (run.exit_code, run.stdout.decode()) == (0, LINE)
    said = server.asked[1].json["messages"][1]["content"]
    assert said == (text[:20_000] if text.strip() else "(nothing)")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "9" * 5000, '{"\x1b[2J": NaN}'])
def test_a_hostile_answer_is_reported_in_a_sentence(describe: Ask, server: Server, lighthouse: Path, text: str) -> None:
    server.answer = stream(text)
    run = describe(lighthouse, "--schema", FORM, "--no-loop-check")
    assert (run.exit_code, run.stdout) == (8 if text else 6, b"")
    assert len(run.stderr) < 1000
    assert "\x1b" not in run.stderr


def test_a_cut_off_answer_is_not_repaired_and_a_partial_value_is_not_printed(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = Reply([delta('{"shop": "Ki', finish="length"), figures(), DONE])
    run = describe(lighthouse, "--schema", FORM)
    assert (run.exit_code, run.stdout, len(server.asked)) == (6, b"", 1)
    assert run.stderr.endswith("hint: Raise --max-tokens; --json keeps the partial answer.\n")
    found = describe(lighthouse, "--schema", FORM, "--json").json
    assert (found["complete"], found["text"], found["data"]) == (False, '{"shop": "Ki', None)


def test_an_invalid_answer_affects_only_its_image(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn(GOOD, WRONG, WRONG, GOOD)
    run = describe(lighthouse, lighthouse, lighthouse, "--each", "--schema", FORM)
    assert (run.exit_code, run.stdout.decode()) == (8, LINE * 2)


@pytest.mark.parametrize(
    ("path", "printed"),
    [("data.items.0", "tea\n"), ("data.total", "12.5\n"), ("data", LINE), ("data.items.7", "null\n"), ("ok", "true\n")],
)
def test_field_picks_from_the_value(describe: Ask, server: Server, lighthouse: Path, path: str, printed: str) -> None:
    server.answer = stream(GOOD)
    run = describe(lighthouse, "--schema", FORM, "--field", path)
    assert (run.exit_code, run.stdout.decode()) == (0, printed)


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        ("data.nope", "nope", "Available: shop, total, items"),
        ("data.items.first", "first", "Use a number to pick an item of this list."),
        ("data.items.0.x", "x", "This value has no fields."),
    ],
)
def test_a_field_that_the_schema_does_not_have_is_refused_before_any_request(
    describe: Ask, server: Server, lighthouse: Path, path: str, name: str, hint: str
) -> None:
    run = describe(lighthouse, "--schema", FORM, "--field", path)
    assert (run.exit_code, run.stdout, server.asked) == (2, b"", [])
    assert run.stderr == f"error: no field {name!r} in --field {path}\nhint: {hint}\n"


def test_a_field_of_an_open_schema_is_searched_in_the_answer(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream(GOOD)
    assert describe(lighthouse, "--schema", '{"type": "object"}', "--field", "data.shop").stdout == b"Kiosk\n"
    run = describe(lighthouse, "--schema", '{"type": "object"}', "--field", "data.items.x")
    assert (run.exit_code, run.stdout) == (2, b"")
    assert run.stderr == "error: no field 'x' in --field data.items.x\nhint: Available: 0, 1\n"


def test_a_field_of_data_needs_a_schema(describe: Ask, server: Server, lighthouse: Path) -> None:
    run = describe(lighthouse, "--field", "data.shop")
    assert (run.exit_code, run.stdout, server.asked) == (2, b"", [])
    assert run.stderr.endswith("hint: Add one with --schema.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--schema", "title, tags strng"],
            "--schema: unknown type 'strng' at character 13: 'strng'; did you mean string?",
        ),
        (["--schema", "nope.json"], "--schema: cannot read nope.json: No such file or directory"),
        (
            ["--schema", FORM, "-O", 'response_format={"type":"text"}'],
            "a schema and -O response_format exclude each other",
        ),
        (["-P", "tags", "-O", 'response_format={"type":"text"}'], "a schema and -O response_format exclude each other"),
        (["--schema", "a.json", "-o", "a.json"], "-o would overwrite "),
    ],
)
def test_a_contradictory_command_line_is_refused_before_any_request(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "a.json").write_text('{"type": "object"}')
    run = describe(lighthouse, *arguments)
    assert (run.exit_code, run.stdout, server.asked) == (2, b"", [])
    assert run.stderr.startswith(f"error: {says}")


def test_the_users_own_response_format_is_sent_if_there_is_no_schema(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    describe(lighthouse, "-O", 'response_format={"type":"text"}')
    assert server.asked[0].json["response_format"] == {"type": "text"}


def test_on_a_terminal_the_value_is_indented_and_nothing_shows_before_it_is_whole(
    server: Server, on_a_terminal: Terminal, lighthouse: Path
) -> None:
    server.answer = in_turn(WRONG, '{"shop": "\\u001b[2J**Kiosk**", "total": 12.5, "items": []}')
    out, exit_code = on_a_terminal(lighthouse, "--schema", FORM, "--no-stats")
    assert (exit_code, Screen().feed(out).lines) == (
        0,
        [
            "{",
            r'  "shop": "\u001b[2J**Kiosk**",',
            '  "total": 12.5,',
            '  "items": []',
            "}",
            "",
            "note: the first answer did not fit the schema, so a second one was requested",
        ],
    )


def test_the_spinner_says_that_the_model_is_writing(server: Server, on_a_terminal: Terminal, lighthouse: Path) -> None:
    writing = Hold()
    server.answer = Reply([delta(GOOD[:10]), writing, delta(GOOD[10:], finish="stop"), DONE])

    def until(child: Any) -> None:
        child.expect_exact("the model is writing")
        writing.event.set()

    out, exit_code = on_a_terminal(lighthouse, "--schema", FORM, until=until)
    assert exit_code == 0
    assert b"Kiosk" in out


def test_verbose_shows_the_first_problem(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = in_turn(WRONG, GOOD)
    run = describe(lighthouse, "--schema", FORM, "-v")
    assert f"the answer does not fit the schema, requesting a second one: {WRONG_SAYS[0]}\n" in run.stderr
    assert run.stderr.count("POST ") == 2


def plain(text: str) -> httpx.Response:
    message = {"role": "assistant", "content": text}
    return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"}]})


def asked_slowly(max_time: float, *replies: tuple[float, httpx.Response]) -> tuple[Description, int]:
    """What becomes of an answer when each reply takes so many seconds, and how many were asked for."""
    now, left = [0.0], list(replies)

    def answer(_: httpx.Request) -> httpx.Response:
        seconds, reply = left.pop(0)
        now[0] += seconds
        return reply

    with Endpoint("http://127.0.0.1/v1", timeout=9, transport=httpx.MockTransport(answer)) as endpoint:
        items = Session(schema(FORM, where="x")).describe(
            endpoint, REQUEST, (), RequestOptions(RetryLimits(max_time=max_time), clock=lambda: now[0])
        )
        return collect(items), len(replies) - len(left)


def test_a_repair_is_not_requested_after_max_time() -> None:
    found, asked = asked_slowly(50, (100, plain(WRONG)), (1, plain(GOOD)))
    assert (found.text, type(found.error), asked) == (WRONG, SchemaMismatchError, 1)


def test_a_repair_has_the_time_that_is_left() -> None:
    busy = httpx.Response(503, headers={"Retry-After": "30"}, text="busy")
    found, asked = asked_slowly(50, (40, plain(WRONG)), (1, busy), (1, plain(GOOD)))
    assert found.error is not None
    assert found.error.message.endswith("(--max-time would be over before the retry)")
    assert asked == 2


def test_the_time_of_both_requests_is_added() -> None:
    found, _ = asked_slowly(50, (10, plain(WRONG)), (5, plain(GOOD)))
    assert (found.timing.ttft_seconds, found.timing.total_seconds) == (10, 15)


def test_a_file_gets_the_value_on_one_line(describe: Ask, server: Server, lighthouse: Path, tmp_path: Path) -> None:
    server.answer = stream(GOOD)
    describe(lighthouse, "--schema", FORM, "-o", "answer.json")
    assert (tmp_path / "answer.json").read_text("utf-8") == LINE


def test_the_offline_answer_fits_the_schema(describe: Ask, lighthouse: Path) -> None:
    run = describe(lighthouse, "--schema", FORM, "--offline", "--field", "data.items.0")
    assert (run.exit_code, run.stdout) == (0, b"no model was asked\n")


@pytest.mark.parametrize(
    "text",
    [
        '{"shop": "Kiosk", "total": 9.5, "items": ["tea"], "old": [{"shop": "Bar", "total": 1, "items": []},]}',
        '{"shop": "Kiosk", "total": NaN, "items": [], "old": {"shop": "Bar", "total": 1, "items": []}}',
        '{"was": {"shop": "Bar", "total": 1, "items": []}',
        '```json\n{"was": {"shop": "Bar", "total": 1, "items": []},}\n```',
        'Here it is: {"was": {"shop": "Bar", "total": 1, "items": []}, oops}',
    ],
)
def test_a_value_inside_a_broken_one_is_not_the_answer(
    describe: Ask, server: Server, lighthouse: Path, text: str
) -> None:
    server.answer = stream(text)
    run = describe(lighthouse, "read it", "--schema", FORM)
    assert (run.exit_code, run.stdout, len(server.asked)) == (8, b"", 2)
    assert "it is not valid JSON: " in run.stderr


def test_a_key_in_the_answer_is_not_repeated_in_its_problems(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = lambda asked: stream(json.dumps({"n": asked.headers["authorization"]}))
    run = describe(lighthouse, "read it", "--schema", "n int", "-v")  # which looks for the key in all that is said
    assert (run.exit_code, "[key]" in run.stderr) == (8, True)


def test_almost_json_is_read_without_a_second_request_and_noted(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = stream('{"shop": "Kiosk", "total": 12.5, "items": ["tea", "Brötchen",],}')
    run = describe(lighthouse, "read it", "--schema", FORM, "--json")
    assert (run.exit_code, run.json["data"], len(server.asked)) == (0, VALUE, 1)
    assert run.json["warnings"] == ["the answer was corrected: a comma after the last item was removed"]


def test_a_key_in_a_wrapper_is_not_repeated(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = lambda asked: stream(json.dumps({asked.headers["authorization"]: VALUE}))
    run = describe(lighthouse, "read it", "--schema", FORM)
    assert (run.exit_code, run.stdout.decode(), "[key]" in run.stderr) == (0, LINE, True)
