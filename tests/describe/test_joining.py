"""Joining the texts of tiles."""

import pytest

from qubrid_cli.describe.joining import join_tiles

ABOVE = "the first line\nthe second line\n\nwater and wine\nhouses by the river"


@pytest.mark.parametrize(
    ("below", "repeated", "joined"),
    [
        ("a new line\nthe end", 0, f"{ABOVE}\na new line\nthe end"),
        ("houses by the river\nthe end", 1, f"{ABOVE}\nthe end"),
        ("water and wine\nhouses by the river\nthe end", 2, f"{ABOVE}\nthe end"),
        ("water and wine\n\nhouses by the river\n\nthe end", 3, ABOVE.replace("wine\n", "wine\n\n") + "\n\nthe end"),
        (
            "Water  and winc\nhouses bv the river.\nthe end",
            2,
            ABOVE.replace("by the river", "bv the river.") + "\nthe end",
        ),
        ("something else\nthe end", 2, f"{ABOVE}\nsomething else\nthe end"),
        ("[no text]", 2, ABOVE),
        ("the end", None, f"{ABOVE}\n\nthe end"),
    ],
    ids=["nothing", "one", "two", "blank lines", "misread", "no match", "no text", "beside"],
)
def test_what_two_tiles_show_is_in_the_text_once(below: str, repeated: int | None, joined: str) -> None:
    assert join_tiles([ABOVE, below], [None, repeated]) == joined


def test_a_line_that_was_cut_off_is_taken_from_the_other_tile() -> None:
    above = "one and two\nthree and four\nfive and six\nseven ancl e"
    below = "e and iour\nfive and six\nseven and eight\nnine and ten"
    assert join_tiles([above, below], [None, 2]).splitlines() == [
        "one and two", "three and four", "five and six", "seven and eight", "nine and ten",
    ]  # fmt: skip


def test_of_equal_lines_as_many_are_left_out_as_the_tiles_share() -> None:
    text = "\n".join(["0 0 0"] * 10)
    assert join_tiles([text, text, text], [None, 3, 2]).splitlines() == ["0 0 0"] * 25
