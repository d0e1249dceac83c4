"""Everything that can go wrong for a user: each class with its exit code, and how a message reaches a terminal."""

import re
from typing import ClassVar

#: What acts on a terminal instead of showing: C0, DEL, C1, the bidirectional overrides, and halves of surrogate
#: pairs (how Python spells a file name that is not UTF-8).
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def printable(text: str) -> str:
    r"""Text from a file name, a server or an argument as one harmless line: control characters become ``\x1b``."""
    return text if text.isprintable() else re.sub(_UNPRINTABLE, lambda match: ascii(match[0])[1:-1], text)


_ACTING = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def harmless(text: str) -> str:
    """Text of several lines without its control characters, so without any escape sequence; line breaks and tabs stay."""
    return text.translate(_ACTING)


class QvisionError(Exception):
    """The root of our errors.

    Args:
        message: one sentence that names the thing: a file, a host, a field, a value.
        hint: what to do about it, or ``None``.
        code: a word for scripts; the class has one where the server gives none.
        status: the HTTP status, where there was one.
        request_id: what the server calls the request, where it says.
    """

    exit_code: int = 1
    default_code: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.status = status
        self.request_id = request_id

    def report(self) -> str:
        """The lines for stderr: the message, then the hint, fit for any terminal."""
        lines = [f"error: {printable(self.message)}"]
        if self.hint:
            lines.append(f"hint: {printable(self.hint)}")
        return "\n".join(lines)


class OutputError(QvisionError):
    """The answer could not be written where it should go."""

    default_code = "output"


class UsageError(QvisionError):
    """The command line contradicts itself or leaves something out."""

    exit_code = 2
    default_code = "usage"


class ConfigError(QvisionError):
    """A setting has a value that cannot be used."""

    exit_code = 3
    default_code = "config"


class KeyringError(ConfigError):
    """The system's keyring does not do what it is for."""

    default_code = "keyring"


class ImageError(QvisionError):
    """An image is missing, unreadable, or cannot be sent."""

    exit_code = 4
    default_code = "image"


class EndpointError(QvisionError):
    """The endpoint refused, failed, or could not be understood.

    Attributes:
        passes: it may well be over in a moment, so that asking again makes sense.
        retry_after: seconds that the server asks to wait before that, where it does.
        ends_all: no other request to it would fare better: it is about the key, the address, the model or the credits.
    """

    exit_code = 5
    default_code = "endpoint"
    passes: bool = False
    retry_after: float | None = None
    ends_all: bool = False


class NetworkError(EndpointError):
    """The endpoint was not reached, or the connection broke."""

    default_code = "network"


class UnreachableError(NetworkError):
    """Nobody accepted a connection, so that nothing was sent."""

    passes = True


class WayError(NetworkError):
    """The way to the endpoint is closed as it is set up: by a proxy, a certificate, a redirect."""

    ends_all = True


class AuthError(EndpointError):
    """The key is missing or was refused."""

    exit_code = 3
    default_code = "auth"
    ends_all = True


class IncompleteError(QvisionError):
    """The answer was cut; what arrived of it is kept."""

    exit_code = 6
    default_code = "incomplete"


class UnfinishedError(QvisionError):
    """A run of many images is over, and some of them have no answer: they failed, or it stopped before them."""

    exit_code = 7
    default_code = "unfinished"


class SchemaError(QvisionError):
    """The answer does not fit the schema, also when it was asked for once more; its text is kept."""

    exit_code = 8
    default_code = "schema_mismatch"


class StoppedError(QvisionError):
    """The user pressed Ctrl-C while the answer was on its way."""

    exit_code = 130
    default_code = "interrupted"


class SeveralError(QvisionError):
    """Some of several requests failed, each already reported.

    Args:
        first: the error of the first one, whose exit code is taken over.
    """

    default_code = "several"

    def __init__(self, message: str, *, first: QvisionError) -> None:
        super().__init__(message)
        self.exit_code = first.exit_code
