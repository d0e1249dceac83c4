"""Whether everything is in place, from the settings to an answer: one check after the other, each given out as it ends.

Nothing that a user, a file, a server or a network can cause is raised: it is the check that fails.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

from ...client.endpoint import Endpoint
from ...client.models import NoModelListError, list_models_once
from ...client.request import Request
from ...client.retry import RetryLimits
from ...describe import run
from ...describe.result import Description
from ...errors import ConfigError, EndpointError, IncompleteAnswerError, NetworkError, QvisionError
from ...frozen import frozen
from ...images.encode import ImageLimits
from ...images.prepare import PreparationPool
from ...images.sources import Bytes
from ...settings import keys, presets
from ...settings.config_file import Config
from ...settings.keys import Key
from ...settings.resolve import Settings
from ...text import escape_control_characters, mask_key
from . import probes
from .checks import Check, CheckStatus, make_failure, make_ok, make_warning, run_with_timeout

#: Seconds that a check may take, and the one that waits for a model's first token, which may have to be loaded first.
_CHECK_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
#: Seconds beside those that the endpoint gets, for all that is done here.
_GRACE_SECONDS = 2.0
#: Tokens; enough to see that there is an answer.
_MAX_TOKENS = 16
_MAX_SHOWN_LENGTH = 60
#: The codes of what took too long, in terms of options that other commands have.
_TIMEOUT_CODES = frozenset({"max_time", "timeout"})


@frozen
class CheckContext:
    """What is looked at, and the ways to get at it.

    Attributes:
        config_path: of the file with the settings.
        cache_models: takes the list of models, for completion.
        find_keyring: names the system's keyring.
        timeout: seconds for each check; ``None`` for what suits it.
        is_request_enabled: whether an image is described.
    """

    config_path: str
    env: Mapping[str, str]
    read_config: Callable[[], Config]
    resolve_settings: Callable[[Config], Settings]
    find_key: Callable[[Settings], Key | None]
    open_endpoint: Callable[[Settings, str | None, float], Endpoint]
    cache_models: Callable[[Settings, tuple[str, ...]], None]
    find_keyring: Callable[[], str | None]
    timeout: float | None
    is_request_enabled: bool

    @property
    def seconds(self) -> float:
        """Seconds for a check that waits for no model."""
        return self.timeout or _CHECK_SECONDS


def run_checks(context: CheckContext) -> Iterator[Check]:
    """All checks; one whose ground is missing is left out."""
    config, check = _check_config(context)
    yield check
    try:
        settings = context.resolve_settings(config)
    except QvisionError as error:
        yield make_failure("settings", error)
    else:
        yield from _check_settings(settings)
        yield from _check_key_and_endpoint(context, settings)
    yield from probes.check_environment(context.env, context.find_keyring, context.seconds)


def choose_exit_code(checks: list[Check]) -> int:
    """What the program ends with: 0, or that of the failure that comes first on the way to an answer."""
    return min((check.exit_code for check in checks if check.status is CheckStatus.FAIL), default=0)


def _check_config(context: CheckContext) -> tuple[Config, Check]:
    """What the file says, as far as it can be read."""
    config = Config()
    try:
        config = context.read_config()
        for name in config.presets:
            presets.find(name, config.presets, config.path)
    except QvisionError as error:
        return config, make_failure("config", error)
    is_there = config.defaults or config.profiles or config.presets or config.prices
    return config, make_ok("config", context.config_path if is_there else f"{context.config_path} sets nothing")


def _check_settings(settings: Settings) -> Iterator[Check]:
    for name in ("profile", "base_url", "model"):
        value, source = getattr(settings, name), settings.origins[name]
        if value is not None:
            yield make_ok(name, f"{value} ({source.location})")
        else:
            yield make_failure(
                name, _catch_error(lambda: settings.required_model) or ConfigError(f"there is no {name}")
            )


def _catch_error(work: Callable[[], object]) -> QvisionError | None:
    try:
        work()
    except QvisionError as error:
        return error
    return None


def _check_key_and_endpoint(context: CheckContext, settings: Settings) -> Iterator[Check]:
    """From the key to an answer."""
    if settings.offline:
        yield make_ok("key", "none is needed: --offline asks the built-in endpoint")
        yield from _check_endpoint(context, settings, None, is_key_ok=True)
        return
    key, check = _check_key(context, settings)
    yield check
    has_way = True
    for step in probes.check_network(settings.base_url, context.seconds):
        yield step
        has_way = step.status is not CheckStatus.FAIL
    if has_way:
        yield from _check_endpoint(context, settings, key, is_key_ok=check.status is not CheckStatus.FAIL)


def _check_key(context: CheckContext, settings: Settings) -> tuple[str | None, Check]:
    try:
        found = run_with_timeout(lambda: context.find_key(settings), context.seconds)
        sent = keys.require_key(found, settings)
    except TimeoutError:
        error = ConfigError(f"the key was not to be had within {context.seconds:g} s", hint="Unlock the keyring.")
        return None, make_failure("key", error)
    except QvisionError as error:
        return None, make_failure("key", error)
    if found is not None and found.withheld_reason is not None:
        said = f"{mask_key(found.text)} from {found.location} is not sent: {found.withheld_reason}"
        return None, make_warning("key", said, "Where the endpoint wants one: qvision auth login")
    if found is None:
        return None, make_ok(
            "key", "a header takes its place" if settings.has_authorization else "none, and none is needed"
        )
    return sent, make_ok("key", f"{mask_key(found.text)} from {found.location}")


def _check_endpoint(context: CheckContext, settings: Settings, key: str | None, *, is_key_ok: bool) -> Iterator[Check]:
    try:
        with context.open_endpoint(settings, key, context.seconds) as endpoint:
            answers = True
            for check in _check_models(context, settings, endpoint, is_key_ok=is_key_ok):
                yield check
                answers = answers and not _is_blocking(check)
        if context.is_request_enabled and is_key_ok and answers and settings.model is not None:
            seconds = context.timeout or _ANSWER_SECONDS
            with context.open_endpoint(settings, key, seconds) as endpoint:
                yield _check_request(settings, endpoint, seconds)
    except QvisionError as error:  # what the endpoint cannot even begin with
        yield make_failure("endpoint", error)


def _is_blocking(check: Check) -> bool:
    """Whether nothing can be asked after this: a list that is broken is not what an answer needs, but a key is."""
    return check.status is CheckStatus.FAIL and (check.name != "models" or check.exit_code == 3)


def _check_models(context: CheckContext, settings: Settings, endpoint: Endpoint, *, is_key_ok: bool) -> Iterator[Check]:
    """Ask for the list of models; whatever comes back over HTTP shows that the endpoint is there."""
    there = f"{endpoint.host} answers"
    try:
        models = run_with_timeout(lambda: list_models_once(endpoint, context.seconds), context.seconds + _GRACE_SECONDS)
    except NoModelListError as error:
        yield make_ok("endpoint", there)
        yield make_warning("models", error.message, "The model's name cannot be checked; the rest works all the same.")
    except (TimeoutError, EndpointError) as error:
        ours = _as_timeout_error(error, endpoint, context.seconds)
        is_there = not isinstance(ours, NetworkError) and ours.code != "protocol"
        if is_there:
            yield make_ok("endpoint", there)
        if is_there and not is_key_ok:
            yield make_warning("models", "not told without a key", None)
        else:
            yield make_failure("models" if is_there else "endpoint", ours)
    else:
        yield make_ok("endpoint", there)
        context.cache_models(settings, models)
        yield from _check_model_is_listed(settings, models)


def _as_timeout_error(error: Exception, endpoint: Endpoint, seconds: float) -> EndpointError:
    """The error in terms of ``--timeout``, which is what limits a check."""
    if isinstance(error, EndpointError) and error.code not in _TIMEOUT_CODES:
        return error
    said = f"{endpoint.host} did not answer within {seconds:g} s"
    return NetworkError(said, hint="Try again, or raise --timeout.", code="timeout")


def _check_model_is_listed(settings: Settings, models: tuple[str, ...]) -> Iterator[Check]:
    yield make_ok("models", f"{len(models)} in the endpoint's list")
    model = "offline" if settings.offline else settings.model
    if model is not None and model not in models:
        yield make_warning(
            "listed", f"{model} is not among them", "See which there are: qvision models; choose with -m."
        )


def _check_request(settings: Settings, endpoint: Endpoint, seconds: float) -> Check:
    request = Request(
        model=settings.required_model,
        prompt="Which colour is this?",
        images=(),
        max_tokens=_MAX_TOKENS,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )
    images = PreparationPool(ImageLimits(), threads=1).submit([Bytes("a test image", _build_test_image())])
    items = run.describe(endpoint, request, images, labels=False, retry_limits=RetryLimits(0, max_time=seconds))
    try:
        answer = run_with_timeout(lambda: run.collect(items), seconds + _GRACE_SECONDS)
    except TimeoutError as error:
        return make_failure("request", _as_timeout_error(error, endpoint, seconds))
    return _judge_answer(answer, endpoint, seconds)


def _judge_answer(answer: Description, endpoint: Endpoint, seconds: float) -> Check:
    error = answer.error
    if error is not None and not (isinstance(error, IncompleteAnswerError) and answer.finish_reason == "length"):
        cause = error.__cause__ if isinstance(error, IncompleteAnswerError) else error
        is_late = isinstance(cause, EndpointError) and cause.code in _TIMEOUT_CODES
        return make_failure("request", _as_timeout_error(error, endpoint, seconds) if is_late else error)
    took = f"{answer.timing.total_seconds:.2f} s" if answer.timing.total_seconds is not None else "time"
    text = escape_control_characters(endpoint.redact(" ".join(answer.text.split())))
    if not text:
        return make_ok(
            "request", f"an image was answered to after {took}, within {_MAX_TOKENS} tokens with no text yet"
        )
    shown = text if len(text) <= _MAX_SHOWN_LENGTH else f"{text[: _MAX_SHOWN_LENGTH - 1]}…"
    return make_ok("request", f"an image was described in {took}: {shown}")


def _build_test_image() -> bytes:
    """A PNG of 64 × 64 pixels, all of one blue (PNG specification, sections 5 and 11)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x28\x50\xc8" * 64) * 64
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
