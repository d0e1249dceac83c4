"""What a run of many images is going to do, as its command line says."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..frozen import frozen
from . import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..budget import Limits
    from ..finding import Choice, Found, Task
    from ..pace import Gate
    from ..rules import Rules
    from ..schema import Schema
    from ..settings import Settings
    from ..sidecars import Kind
    from ..sources import Source
    from ..work import Question


@frozen
class Inputs:
    """What a run is over; each time it is gone through from its start."""

    arguments: tuple[str, ...]
    listed: Path | BinaryIO | None
    nul: bool
    choose: "Choice"

    def find(self) -> "Iterator[Found]":
        """One image after the other."""
        from .. import finding, lists

        if self.listed is None:
            yield from finding.find(self.arguments, choose=self.choose)
            return
        with open(self.listed, "rb") if isinstance(self.listed, Path) else nullcontext(self.listed) as stream:
            yield from finding.find(self.arguments, listed=lists.read(stream, nul=self.nul), choose=self.choose)

    def find_again(self) -> "Iterator[Found] | None":
        """The same, to be counted; ``None`` where it can be read only once."""
        can_be_read_twice = self.listed is None or (isinstance(self.listed, Path) and self.listed.is_file())
        return self.find() if can_be_read_twice else None


@frozen
class Plan:
    """What is going to be done."""

    inputs: Inputs
    question: "Question"
    settings: "Settings"
    key: str | None
    stdin: BinaryIO
    fetch: bool | None
    rules: "Rules"
    gate: "Gate"
    limits: "Limits"
    results: Path | None
    failures: Path | None
    schema: "Schema | None"
    sidecar: "Kind | None"
    #: The answers are to stand in for the images.
    is_alt: bool
    is_quiet: bool

    def opened(self, task: "Task") -> "Source":
        """Where the bytes of an image are."""
        from .. import finding

        (image,) = asking.images([finding.source_of(task, self.stdin)], self.settings, fetch=self.fetch)
        return image
