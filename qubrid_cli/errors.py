"""Everything that can go wrong for a user: each class with its exit code, and how a message reaches a terminal."""

from typing import ClassVar

from .text import escape_control_characters


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

    def format_report(self) -> str:
        """The lines for stderr: the message, then the hint, fit for any terminal."""
        lines = [f"error: {escape_control_characters(self.message)}"]
        if self.hint:
            lines.append(f"hint: {escape_control_characters(self.hint)}")
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
        is_temporary: it may well be over in a moment, so that asking again makes sense.
        retry_after: seconds that the server asks to wait before that, where it does.
        is_fatal: no other request to it would fare better: it is about the key, the address, the model or the credits.
    """

    exit_code = 5
    default_code = "endpoint"
    is_temporary: bool = False
    retry_after: float | None = None
    is_fatal: bool = False


class NetworkError(EndpointError):
    """The endpoint was not reached, or the connection broke."""

    default_code = "network"


class UnreachableError(NetworkError):
    """Nobody accepted a connection, so that nothing was sent."""

    is_temporary = True


class ConnectionSetupError(NetworkError):
    """The way to the endpoint is closed as it is set up: by a proxy, a certificate, a redirect."""

    is_fatal = True


class AuthError(EndpointError):
    """The key is missing or was refused."""

    exit_code = 3
    default_code = "auth"
    is_fatal = True


class IncompleteAnswerError(QvisionError):
    """The answer was cut; what arrived of it is kept."""

    exit_code = 6
    default_code = "incomplete"


class BatchIncompleteError(QvisionError):
    """A run of many images is over, and some of them have no answer: they failed, or it stopped before them."""

    exit_code = 7
    default_code = "unfinished"


class SchemaMismatchError(QvisionError):
    """The answer does not fit the schema, also when it was asked for once more; its text is kept."""

    exit_code = 8
    default_code = "schema_mismatch"


class InterruptedByUserError(QvisionError):
    """The user pressed Ctrl-C while the answer was on its way."""

    exit_code = 130
    default_code = "interrupted"


class MultipleError(QvisionError):
    """Some of several requests failed, each already reported.

    Args:
        first: the error of the first one, whose exit code is taken over.
    """

    default_code = "several"

    def __init__(self, message: str, *, first: QvisionError) -> None:
        super().__init__(message)
        self.exit_code = first.exit_code
