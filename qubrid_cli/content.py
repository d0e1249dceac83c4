"""What a request carries, in pieces: an image is written as text when its turn to be sent has come, and not before.

So a request that waits for its answer holds the image once, and not three times: as it is, as a URL, and in the body.
"""

from base64 import b64encode
from collections.abc import Iterator

from .frozen import frozen

#: Bytes of a file at once; three bytes become four letters, so that pieces join without padding.
_AT_ONCE = 3 * 64 * 1024
#: Bytes handed over at once of what is written already.
_PIECE = 256 * 1024


@frozen
class DataUrl:
    """A file as a ``data:`` URL, in the one form that every server reads."""

    mime: str
    data: bytes

    def __len__(self) -> int:
        """Letters, all of them ASCII."""
        return len(self._head) + 4 * -(-len(self.data) // 3)

    def __str__(self) -> str:
        """All of it."""
        return b"".join(self.pieces()).decode("ascii")

    @property
    def _head(self) -> bytes:
        return f"data:{self.mime};base64,".encode()

    def pieces(self) -> Iterator[bytes]:
        """The URL, a piece at a time."""
        yield self._head
        whole = memoryview(self.data)
        for start in range(0, len(whole), _AT_ONCE):
            yield b64encode(whole[start : start + _AT_ONCE])


@frozen
class Content:
    """The body of a request."""

    parts: tuple[bytes | DataUrl, ...]

    def __len__(self) -> int:
        """Bytes."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The body, a piece at a time."""
        for part in self.parts:
            if isinstance(part, DataUrl):
                yield from part.pieces()
            else:
                yield from (part[start : start + _PIECE] for start in range(0, len(part), _PIECE))
