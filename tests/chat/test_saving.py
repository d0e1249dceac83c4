"""A conversation in a file, and back."""

from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from qubrid_cli.chat.conversation import Conversation, Spending, Turn
from qubrid_cli.chat.saving import SavedChat, SessionFile, format_markdown
from qubrid_cli.client.request import ImagePart
from qubrid_cli.images.encode import Upload
from qubrid_cli.images.prepare import PreparedImage
from qubrid_cli.images.sources import Link

TILES = tuple(Upload("image/jpeg", 32, 32, bytes([number]), box=(number, 0, 32, 32)) for number in (0, 1))
TILED = PreparedImage(
    *("plan\udce9.pdf#page=2", "ab", "PDF", 64, 32, 999),
    *(Upload("image/jpeg", 32, 32, b"\0", tiles=TILES), 0.0),
    page=2,
)
LINK = Link("https://h/a.png", "https://me:secret@h/a.png")
TURN = Turn(
    prompt="what\nis it?",
    images=(TILED, LINK),
    parts=(*(ImagePart(tile.url, f"Part {tile.box}") for tile in TILES), ImagePart(LINK.url)),
    answer="A \x1b[2Jplan.",
    is_complete=False,
    model="m`x",
    prompt_tokens=9,
    answer_tokens=None,
    is_left_out=True,
)


@pytest.fixture
def conversation() -> Conversation:
    return Conversation("Be\nbrief.", [TURN], [LINK], "and now?", Spending(1, 9, 2, 0.5), 4096)


def test_a_session_is_read_as_it_was_saved(tmp_path: Path, conversation: Conversation) -> None:
    file = SessionFile(tmp_path / "talk.json")
    assert file.load() is None
    file.save(conversation, "m", "ollama")
    assert file.load() == SavedChat(conversation, "m", "ollama")


def test_markdown_shows_the_whole_conversation_and_no_secret(conversation: Conversation) -> None:
    assert format_markdown(conversation) == (
        "# Chat\n\n> System prompt: Be\n> brief.\n\n"
        "## Question about `plan\\udce9.pdf#page=2`, `https://h/a.png`\n\nwhat\nis it?\n\n"
        "## Answer of `` m`x ``\n\nA [2Jplan.\n\n*(incomplete)*\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        "![a](https://h/?q)",
        "![a][b]\n\n[b]: https://h/",
        r"\![a](https://h/) \\![a](https://h/) \\\![a](https://h/)",
        r"<img src=x> \<img src=x> \\<img src=x> \\\<img src=x>",
        "<script>\nx\n</script>",
        "<!-- --> <?x ?> </p>",
        "- a\n\n  ```\n![a](https://h/)",
        "> ```\n![a](https://h/)",
        "``` `\n![a](https://h/)",
        "```\nx\n```\n![a](https://h/)",
        "~~~\nx\n~~~~  \n<img src=x>",
        "    ```\n![a](https://h/)",
    ],
)
def test_nothing_in_markdown_is_loaded_when_it_is_viewed(answer: str) -> None:
    markdown = format_markdown(Conversation(turns=[replace(TURN, answer=answer)]))
    tokens = MarkdownIt().parse(markdown)
    kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
    assert not kinds & {"image", "html_block", "html_inline"}


def test_code_is_saved_as_it_was_written() -> None:
    code = "```html\n<img src=x>\n![a](b)\n``\n```"
    assert code in format_markdown(Conversation(turns=[replace(TURN, answer=f"So:\n{code}\n1 < 2")]))
