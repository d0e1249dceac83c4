"""A program that uses the library, as a user would write it. mypy checks it strictly, and a test runs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from qubrid_cli import Client, Description, describe
from qubrid_cli.errors import ImageError, QvisionError


def caption(path: Path) -> str:
    """One request, or why it failed."""
    try:
        return describe(path, "caption", model="test/vlm").text
    except ImageError as error:
        return f"{error.code}: {error.message}"
    except QvisionError as error:
        return f"exit code {error.exit_code}"


def list_prices(folder: Path) -> Iterator[tuple[str, Any]]:
    """Many requests, whose answers fit a schema."""
    with Client(preset="describe", schema="total number", max_tokens=100) as client:
        for description in client.map(sorted(folder.glob("*.jpg")), "What is the total?", jobs=2):
            yield description.images[0].name, description.data if description.error is None else None


def shout(image: Image.Image) -> Description:
    """The text of an image in memory, as it arrives."""
    client = Client()
    with client.stream([image, image.convert("L")], "Compare them.") as stream:
        for text in stream:
            print(text.upper(), end="")
        return stream.description


def mistakes() -> None:
    """What a type checker finds; it is never called."""
    describe("photo.jpg", modle="test/vlm")  # type: ignore[call-arg]
    Client(max_tokens="many")  # type: ignore[arg-type]
    describe(3)  # type: ignore[arg-type]
