"""Placeholders in prompts, and labels of images."""

import pytest

from qubrid_cli.describe.prompt import check_placeholders, expand_placeholders, format_image_label
from qubrid_cli.errors import UsageError


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("lighthouse.jpg", "Image 2: lighthouse.jpg"),
        ("/home/me/secret client/lighthouse.jpg", "Image 2: lighthouse.jpg"),
        (r"C:\Users\me\lighthouse.jpg", "Image 2: lighthouse.jpg"),
        ("https://host/a/b.png?token=secret", "Image 2: b.png"),
        ("https://host/a/?token=secret/x", "Image 2: a"),
        ("data:image/png;base64,…", "Image 2"),
        ("-", "Image 2"),
        ("a\x1b[2J\udc80.png", r"Image 2: a\x1b[2J\udc80.png"),
    ],
)
def test_a_label_has_the_number_and_the_name_without_its_folder(name: str, label: str) -> None:
    assert format_image_label(2, name) == label


@pytest.mark.parametrize("text", ["{em} {st} {me}", "{id}", "{image} {date} {line}", "{username}"])
def test_a_word_that_is_not_almost_a_placeholder_is_text(text: str) -> None:
    assert expand_placeholders(text, {"name": "a.jpg"}) == text


@pytest.mark.parametrize(("word", "meant"), [("file_name", "name"), ("FileName", "name"), ("indx", "index")])
def test_a_misspelt_placeholder_is_refused_with_a_suggestion(word: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_placeholders(f"What is {{{word}}}?", images=1)
    assert (caught.value.message, caught.value.hint) == (
        f"unknown placeholder {{{word}}} in the prompt; did you mean {{{meant}}}?",
        f"For literal braces, double them: {{{{{word}}}}}",
    )


def test_doubled_braces_are_not_placeholders_of_several_images() -> None:
    check_placeholders("{{name}} and {index}", images=2)
