"""The errors that a user can see, each class with its exit code.

An error is complete when it is made: nothing sets its attributes later.
"""

import errno
from typing import ClassVar, Self

from .frozen import frozen
from .text import escape_control_characters


class QvisionError(Exception):
    """The base class of our errors.

    Args:
        message: one sentence that names the file, host, field or value that is wrong.
        hint: what to do about it.
        code: an identifier for scripts; by default the class's ``default_code``.
        status: the HTTP status, if a server answered.
        request_id: the server's id of the request, if it sent one.
        cause: the underlying error; only needed if this error is recorded instead of raised ``from`` it.
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
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.status = status
        self.request_id = request_id
        if cause is not None:
            self.__cause__ = cause

    def with_message(self, message: str, *, hint: str | None) -> Self:
        """Return a copy with another message and hint, but the same class, cause and other attributes."""
        copy = type(self).__new__(type(self), message)
        copy.__dict__.update(self.__dict__, message=message, hint=hint)
        if self.__cause__ is not None:
            copy.__cause__ = self.__cause__
        return copy

    def format_report(self) -> str:
        """The lines for stderr: the message and the hint, with control characters escaped."""
        lines = [f"error: {escape_control_characters(self.message)}"]
        if self.hint:
            lines.append(f"hint: {escape_control_characters(self.hint)}")
        return "\n".join(lines)


#: This process, or the machine, has run out of file descriptors, memory, threads or local ports.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EADDRNOTAVAIL})


def find_shortage(error: BaseException | None) -> OSError | None:
    """Find, among an error and its causes, the one that reports a shortage on this machine; ``None`` if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            return error
        error = error.__cause__ or error.__context__
    return None


class OutputError(QvisionError):
    """The output could not be written."""

    default_code = "output"


class UsageError(QvisionError):
    """The command line is contradictory or incomplete."""

    exit_code = 2
    default_code = "usage"


class ConfigError(QvisionError):
    """A setting has a value that cannot be used."""

    exit_code = 3
    default_code = "config"


class KeyringError(ConfigError):
    """The system's keyring does not work."""

    default_code = "keyring"


class ImageError(QvisionError):
    """An image is missing, unreadable, or cannot be sent."""

    exit_code = 4
    default_code = "image"


class StorageError(QvisionError):
    """A folder, or a bucket, could not be read."""

    exit_code = 4
    default_code = "storage"

    @property
    def is_temporary(self) -> bool:
        """Whether the storage may be readable again later: it is unreachable, or limits the rate."""
        return self.code in {"network", "no_such_host", "rate_limit"}


class MissingObjectError(StorageError):
    """There is no object with this name."""

    default_code = "no_such_object"


#: Enough for a caption, for tags, and for most texts in images.
_USUAL_ANSWER_TOKENS = 1_000


@frozen
class ContextOverflow:
    """The token counts in a server's error about a request that is too long; ``None`` for those that are missing.

    Attributes:
        context_size: the limit for prompt and answer together.
        prompt_tokens: those of the text and the images.
        max_output_tokens: the limit for the answer alone, if the server has one.
        excess_tokens: by how much the prompt is too long, if the server says only that.
        is_prompt_exact: false if the prompt has ``prompt_tokens`` or more.
    """

    context_size: int | None = None
    prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    excess_tokens: int | None = None
    is_prompt_exact: bool = True

    @property
    def tokens_left(self) -> int | None:
        """The tokens that the prompt leaves for the answer, negative if the prompt is too long; ``None`` if unknown."""
        if self.excess_tokens is not None:
            return -self.excess_tokens
        if self.context_size is None or self.prompt_tokens is None:
            return None
        return self.context_size - self.prompt_tokens

    @property
    def usual_answer_tokens(self) -> int:
        """The tokens to leave for an answer: enough for a usual one, but at most a quarter of the context."""
        return _USUAL_ANSWER_TOKENS if self.context_size is None else min(_USUAL_ANSWER_TOKENS, self.context_size // 4)


class EndpointError(QvisionError):
    """The endpoint refused the request, failed, or sent something that cannot be understood.

    Args:
        is_temporary: the same request may succeed later, so a retry makes sense.
        retry_after: seconds to wait before a retry, as the server's response says; ``None`` if it does not.
        is_fatal: every other request would fail too, because the key, the address, the model or the credits are wrong.
        reason: the server's own words, without secrets and not shortened; empty if it sent none.
        param: the field of the request that the server names.
        context: the token counts, if the request is too long for the model.
        body: the whole response, without secrets.
    """

    exit_code = 5
    default_code = "endpoint"
    always_temporary: ClassVar[bool] = False
    always_fatal: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        cause: BaseException | None = None,
        is_temporary: bool = False,
        retry_after: float | None = None,
        is_fatal: bool = False,
        reason: str = "",
        param: str | None = None,
        context: ContextOverflow | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code, status=status, request_id=request_id, cause=cause)
        self.is_temporary = is_temporary or self.always_temporary
        self.retry_after = retry_after
        self.is_fatal = is_fatal or self.always_fatal
        self.reason = reason
        self.param = param
        self.context = context
        self.body = body


class NetworkError(EndpointError):
    """The endpoint could not be reached, or the connection broke."""

    default_code = "network"


class UnreachableError(NetworkError):
    """The connection could not be opened, so nothing was sent."""

    always_temporary = True


class ConnectionSetupError(NetworkError):
    """A proxy, a certificate or a redirect prevents the connection."""

    always_fatal = True


class AuthError(EndpointError):
    """The key is missing or was refused."""

    exit_code = 3
    default_code = "auth"
    always_fatal = True


class IncompleteAnswerError(QvisionError):
    """The answer was cut off; the part that arrived is kept."""

    exit_code = 6
    default_code = "incomplete"


class EmptyAnswerError(IncompleteAnswerError):
    """The answer has no text: it is empty, or holds only whitespace, reasoning or a function call.

    Args:
        is_temporary: the same request may get an answer next time.
    """

    default_code = "empty_answer"

    def __init__(self, message: str, *, hint: str | None = None, is_temporary: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.is_temporary = is_temporary


class RefusedAnswerError(IncompleteAnswerError):
    """The model, or the endpoint's content filter, declined; the reason is kept as the text."""

    default_code = "refusal"


class BatchIncompleteError(QvisionError):
    """A batch ended with images that have no answer: they failed, or the batch stopped before it reached them."""

    exit_code = 7
    default_code = "unfinished"


class SchemaMismatchError(QvisionError):
    """The answer does not fit the schema, even after the repair request; its text is kept."""

    exit_code = 8
    default_code = "schema_mismatch"


class UnsureError(QvisionError):
    """The model could not decide between yes and no."""

    exit_code = 8
    default_code = "unsure"


class InterruptedByUserError(QvisionError):
    """The user pressed Ctrl-C."""

    exit_code = 130
    default_code = "interrupted"

    def __init__(
        self, message: str = "stopped by Ctrl-C", *, hint: str | None = None, cause: BaseException | None = None
    ) -> None:
        super().__init__(message, hint=hint, cause=cause)


class SomeRequestsFailedError(QvisionError):
    """Some of several requests failed, and each failure was already reported; ``first`` sets the exit code."""

    default_code = "several"

    def __init__(self, message: str, *, first: QvisionError) -> None:
        super().__init__(message)
        self.exit_code = first.exit_code
