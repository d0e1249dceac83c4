"""Answers that repeat themselves, and ordinary ones that seem to."""

import base64
import csv
import datetime as dt
import io
import json
import os
import random
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qubrid_cli.client.request import Request
from qubrid_cli.describe.repetition import Repetition, RepetitionDetector, vary_sampling

from ..conftest import Ask
from ..support.server import DONE, Hold, Reply, Server, delta, document, event, figures, stream

START = (
    "# Delivery\n\nThe table lists what arrived.\n\n| Pos | Article | Price |\n|---|---|---|\n| 1 | Apples | 1.20 |\n"
)
ROW = "| | | |\n"


def find(text: str, size: int = 7) -> tuple[Repetition | None, int]:
    """The loop in a text that comes in pieces of this size, and the characters that had come by then."""
    detector = RepetitionDetector()
    for start in range(0, len(text), size):
        if repetition := detector.feed(text[start : start + size]):
            return repetition, min(len(text), start + size)
    return None, len(text)


@pytest.mark.parametrize(
    "unit",
    [
        ROW,
        "| |\n",
        "| Apples | 1.20 | 2 |\n",
        "| |\r\n",
        "- [ ] \n",
        "0,0,0,0\n",
        "<tr><td></td><td></td></tr>\n",
        " & & & \\\\\n",
        "The sky is blue.\n",
        "and the cat sat on the mat ",
        "The image shows a cat. ",
        "the ",
        "&nbsp;",
        "<br>",
        "图片中有一只猫。",
        "これは猫です。\n",
        "고양이 ",
        "Это кошка. ",
        "هذه قطة ",
        "## Page\n\nName: John\nAge: 42\n\n---\n",
        '{"name": "", "qty": 0}, ',
        '{"name":"x","qty":1},',
        '    {\n      "name": "x",\n      "qty": 1\n    },\n',
        f"| Name | {' ' * 90}|\n",
        f"| a |{' ' * 70}| b |{' ' * 70}|\n",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.\n\n",
        "".join(
            f"{textwrap.fill(f'{word} ' * 9)}, and so on.\n" for word in ["alpha", "beta", "gamma", "delta", "epsilon"]
        ),
    ],
)
def test_a_loop_of_400_ends_before_30_percent_and_leaves_one(unit: str) -> None:
    text = START + unit * 400
    repetition, received = find(text)
    assert repetition is not None
    assert received - len(START) < 0.3 * 400 * len(unit)
    assert text[: repetition.end].rstrip() == (START + unit).rstrip()


@pytest.mark.parametrize(
    "number",
    [
        "| {} | | |\n".format,
        "| {} | Total | 0.00 |\n".format,
        "{}. [ ] ____\n".format,
        "{}. The image shows a cat.\n".format,
        "{}. 图片中有一只猫。\n".format,
        '  {{"row": {}, "name": "", "qty": null}},\n'.format,
        '  {{\n    "row": {},\n    "name": "",\n    "qty": null\n  }},\n'.format,
        "**Question {}:** What is shown?\n\nAnswer: A cat sits on a mat.\n\n".format,
        lambda index: f"| {1000 - index} | | |\n",
        lambda index: f"| {index * 5:05} | | |\n",
    ],
)
def test_a_loop_of_400_numbered_rows_ends_before_30_percent(number: Callable[[int], str]) -> None:
    rows = "".join(map(number, range(1, 401)))
    repetition, received = find(START + rows)
    assert repetition is not None
    assert received - len(START) < 0.3 * len(rows)
    assert (START + rows)[: repetition.end].rstrip() == (START + number(1)).rstrip()


@pytest.mark.parametrize(
    "unit", ["!", "的", "😀", " ", "\n", "-", ". ", "0", "x", "0, ", "null, ", "00 ", "| ", "no, ", '"']
)
def test_a_token_without_end_is_ended(unit: str) -> None:
    assert find(START + unit * 8000)[0] is not None


@pytest.mark.parametrize("size", [1, 13, 419, 420, 421, 5000, 100_000])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    assert find(START + ROW * 400, size)[0] == Repetition(ROW, 105, len(START) + len(ROW))


def test_a_loop_in_the_middle_of_a_text_is_found() -> None:
    assert find(START + ROW * 400 + "The end. " * 3, 1_000_000)[0] is not None


# Ordinary texts


def tables(dice: random.Random) -> Iterator[str]:
    """Tables, lists and forms, of which most repeat something."""
    words = [word for word in (Path(os.__file__).parent / "this.py").read_text().split() if word.isalpha()]
    days = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(730)]
    yield "\n".join(f"| {n} | {dice.choice(words)} | {dice.randrange(9)}.00 |" for n in range(600))
    yield "\n".join(f"{day}" for day in days)
    yield "\n".join(f"{day},0,0,0,0" for day in days)
    yield "\n".join(f"{day:%A, %d %B %Y}: closed" for day in days)
    yield "\n".join(f"- {day:%d.%m.%Y} ____________" for day in days)
    yield "\n".join(f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60))
    yield "\n".join(str(number) for number in range(1, 3000))
    yield "\n".join(f"Page {number}" for number in range(1, 3000))
    yield " ".join(f"w{number}" for number in range(20_000))
    yield "- [ ] \n" * 100
    yield "".join(f"{number}. [ ] ______\n" for number in range(1, 101))
    yield "☐ " * 100
    yield "".join(f"☐ {dice.choice(words)}\n" for _ in range(400))
    yield "| | | |\n" * 100
    yield "Around the world, around the world\n" * 72
    yield "".join(
        f"Verse {n}\n{' '.join(dice.choices(words, k=40))}\n\n{'La la la, sing along with me. ' * 8}\n\n"
        for n in range(60)
    )
    yield f"{'I will not talk in class.' + chr(10)}" * 60
    yield "1 x Coffee 2.50\n" * 40 + "TOTAL 100.00\n"
    yield "".join(f"{dice.choice(words):<20}{'.' * 40}{dice.randrange(300):>4}\n" for _ in range(300))
    yield "\n".join(",".join(dice.choice(["0", "0", "0", "0", "1"]) for _ in range(40)) for _ in range(200))
    yield "\n".join(",".join(["0"] * 150) for _ in range(60))
    yield json.dumps([[0] * 100] * 40)
    yield json.dumps([{"id": n, "ok": n % 2 == 0, "name": dice.choice(words), "tags": []} for n in range(500)])
    yield json.dumps([{"id": n, "ok": n % 3 == 0, "note": None} for n in range(500)], indent=2)
    yield json.dumps([None] * 300)
    yield json.dumps({"bins": [0] * 256}, indent=2)


def dumps(dice: random.Random) -> Iterator[str]:
    """Drawings, data and texts in other languages."""
    words = [word for word in (Path(os.__file__).parent / "this.py").read_text().split() if word.isalpha()]
    yield "\n".join(" ".join(dice.choice("#@%*+=-:. ") for _ in range(100)) for _ in range(100))
    yield "\n".join(
        "".join("#" if (x - 60) ** 2 + 4 * (y - 30) ** 2 < 2500 else " " for x in range(120)) for y in range(60)
    )
    yield "\n".join("█" * dice.randrange(60) for _ in range(300))
    yield f"|{'-' * 400}|{'-' * 300}|\n" * 3
    yield f"{'=' * 200}\n{' ' * 300}x\n"
    data = bytes(256) * 2 + dice.randbytes(8000) + b"\xff" * 300
    yield "\n".join(f"{at:08x}  {data[at : at + 16].hex(' ')}  |{'.' * 16}|" for at in range(0, len(data), 16))
    yield data.hex(" ")
    yield base64.b64encode(data + bytes(2000)).decode()
    yield "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 76))
    yield "".join(f"<tr><td>{n}</td><td></td><td>{dice.choice(words)}</td></tr>\n" for n in range(400))
    yield "".join(
        f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\n…\n\n" for n in range(400)
    )
    yield "".join(
        f"§ {n}. Die Frist beträgt {dice.randrange(30)} Tage. § {n + 1} gilt entsprechend.\n" for n in range(300)
    )
    yield "".join(f"第{n}条 甲方应当在{dice.randrange(30)}日内通知乙方。\n" for n in range(300))
    yield "".join(f"{n}. {''.join(dice.choices('的一是不了人我在有他这中大来上国', k=12))}。\n" for n in range(400))
    yield "哈" * 80
    yield "".join(f"[{dice.choice('ABCD')}] ({n})\n" for n in range(300))
    yield "".join(f"{n}. (A) (B) (C) (D)   {n + 60}. (A) (B) (C) (D)\n" for n in range(1, 61))
    yield "".join(
        f"2024-05-{n % 28 + 1:02}T10:{n % 60:02}:00Z INFO request served in {dice.randrange(90)} ms\n"
        for n in range(800)
    )
    yield "Dear Sir or Madam,\n\n" + " ".join(dice.choices(words, k=4000))
    out = io.StringIO()
    csv.writer(out).writerows([n, "", "", "n/a", dice.choice(words)] for n in range(800))
    yield out.getvalue()


def sources() -> list[str]:
    """The longest modules of Python's library, as long as an answer can be."""
    paths = sorted(Path(os.__file__).parent.glob("*.py"), key=lambda path: path.stat().st_size, reverse=True)[:160]
    return [path.read_text("utf-8")[:80_000] for path in paths]


def test_no_ordinary_text_is_taken_for_a_loop() -> None:
    texts = [*tables(random.Random(15)), *dumps(random.Random(16)), *sources()]
    assert len(texts) >= 150
    assert [repetition for text in texts if (repetition := find(text, 4096)[0])] == []


# An answer that is ended


def rows(count: int) -> list[bytes]:
    return [delta(START), *[delta(ROW)] * count]


def test_the_request_ends_as_soon_as_a_row_is_repeated_without_end(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = Reply([*rows(119), Hold()])  # the server goes on
    run = describe(lighthouse, "what?", "--json")
    found = run.json
    assert (run.exit_code, found["ok"], found["complete"], found["usage"]) == (6, False, False, None)
    assert found["text"] == START + ROW
    assert (found["error"]["code"], "--no-loop-check" in found["error"]["hint"]) == ("repetition", True)


def test_what_follows_a_loop_in_a_whole_answer_is_dropped(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = document(START + ROW * 400 + "\nThe end.")
    run = describe(lighthouse, "what?", "--no-stream")
    assert (run.exit_code, run.stdout.decode()) == (6, START + ROW)
    assert run.stderr.startswith('error: the answer is incomplete: it repeats itself ("| | | |", 105 times)')


def test_reasoning_that_repeats_itself_ends_the_answer(describe: Ask, server: Server, lighthouse: Path) -> None:
    thought = event({"choices": [{"delta": {"reasoning_content": "Wait, let me look again. "}}]})
    server.answer = Reply([thought] * 400 + [delta("A cat.", finish="stop"), DONE])
    found = describe(lighthouse, "what?", "--json").json
    assert (found["reasoning"], found["text"]) == ("Wait, let me look again. ", "")
    assert found["error"]["message"].startswith("the answer is incomplete: the reasoning before it repeats itself")


def test_no_loop_check_keeps_every_row(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = Reply([*rows(400), delta("", finish="stop"), figures(), DONE])
    run = describe(lighthouse, "what?", "--no-loop-check")
    assert (run.exit_code, run.stdout.decode()) == (0, START + ROW * 400)


def test_a_list_of_equal_objects_is_not_requested_again(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream('{"items": [', *['{"name": "", "qty": 0}, '] * 400)
    run = describe(lighthouse, "--schema", "items [{name, qty int}]")
    assert (run.exit_code, run.stdout, len(server.asked)) == (6, b"", 1)
    assert "hint: Try a higher --temperature" in run.stderr


REQUEST = Request("m", "p", (), max_tokens=None, temperature=0.1, top_p=None)


@pytest.mark.parametrize(
    ("temperature", "extra", "repetitions", "sent"),
    [
        (0.1, {}, 0, (0.1, None)),
        (0.1, {}, 1, (0.4, None)),
        (0.1, {}, 2, (0.7, 0.5)),
        (0.9, {}, 2, (1.0, 0.5)),
        (1.5, {}, 1, (1.5, None)),
        (None, {}, 1, (None, 0.5)),
        (None, {}, 2, (None, 1.0)),
        (0.1, {"repetition_penalty": 1.1}, 2, (0.7, None)),
    ],
)
def test_each_further_request_varies_more(
    temperature: float | None, extra: dict[str, float], repetitions: int, sent: tuple[float | None, float | None]
) -> None:
    request, notes = vary_sampling(
        Request("m", "p", (), max_tokens=None, temperature=temperature, top_p=None, extra=extra), repetitions
    )
    assert ((request.temperature, request.frequency_penalty), len(notes)) == (sent, min(1, repetitions))
