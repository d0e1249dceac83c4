"""Patterns that take images in or leave them out, as in a ``.gitignore``. The home of pathspec."""

from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from .errors import UsageError
from .frozen import frozen


@frozen
class Patterns:
    """What is wanted: something of ``include``, where there is any, and nothing of ``exclude``."""

    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec

    def wants_file(self, path: str) -> bool:
        """Whether a file is wanted; its path is relative, with slashes."""
        return (self.include is None or self.include.match_file(path)) and not self.exclude.match_file(path)

    def wants_folder(self, path: str) -> bool:
        """Whether to look into a folder at all."""
        return not self.exclude.match_file(f"{path}/")


def patterns(include: Sequence[str], exclude: Sequence[str]) -> Patterns:
    """Patterns ready for use.

    Raises:
        UsageError: one cannot be read.
    """
    return Patterns(_spec("--include", include) if include else None, _spec("--exclude", exclude))


def _spec(option: str, lines: Sequence[str]) -> GitIgnoreSpec:
    try:
        # Its other engines, used where they happen to be installed, take no names that are not UTF-8.
        return GitIgnoreSpec.from_lines(lines, backend="simple")
    except ValueError as error:
        raise UsageError(
            f"{option} has a pattern that cannot be read: {error}", hint="They are those of a .gitignore."
        ) from error
