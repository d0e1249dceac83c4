"""Whether everything is in place, from the settings to an answer: one check after the other, each given out as it ends.

Nothing that a user, a file, a server or a network can cause is raised: it is the check that fails.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

from . import chat, credentials, description, equipment, listing, presets, reachability
from .checks import Check, Status, bounded, failed, ok, warned
from .configuration import Config
from .credentials import Key
from .draft import Description
from .endpoint import Endpoint
from .errors import ConfigError, EndpointError, IncompleteError, NetworkError, QvisionError, printable
from .frozen import frozen
from .images import Workshop
from .masking import hinted
from .payload import Limits
from .retries import Patience
from .settings import Settings
from .sources import Bytes

#: Seconds that a check may take, and the one that waits for a model's first token, which may have to be loaded first.
_SECONDS = 10.0
_SECONDS_TO_ANSWER = 60.0
#: Seconds beside those that the endpoint gets, for all that is done here.
_GRACE = 2.0
#: Tokens; enough to see that there is an answer.
_MAX_TOKENS = 16
_MAX_SHOWN = 60
#: The codes of what took too long, in terms of options that other commands have.
_LATE = frozenset({"max_time", "timeout"})


@frozen
class Case:
    """What is looked at, and the ways to get at it.

    Attributes:
        path: of the file with the settings.
        keep: takes the list of models, for completion.
        keyring: names the system's keyring.
        timeout: seconds for each check; ``None`` for what suits it.
        asks: whether an image is described.
    """

    path: str
    env: Mapping[str, str]
    config: Callable[[], Config]
    settle: Callable[[Config], Settings]
    find_key: Callable[[Settings], Key | None]
    open_endpoint: Callable[[Settings, str | None, float], Endpoint]
    keep: Callable[[Settings, tuple[str, ...]], None]
    keyring: Callable[[], str | None]
    timeout: float | None
    asks: bool

    @property
    def seconds(self) -> float:
        """Seconds for a check that waits for no model."""
        return self.timeout or _SECONDS


def examine(case: Case) -> Iterator[Check]:
    """All checks; one whose ground is missing is left out."""
    config, check = _config(case)
    yield check
    try:
        settings = case.settle(config)
    except QvisionError as error:
        yield failed("settings", error)
    else:
        yield from _settings(settings)
        yield from _asked(case, settings)
    yield from equipment.inspect(case.env, case.keyring, case.seconds)


def exit_code(checks: list[Check]) -> int:
    """What the program ends with: 0, or that of the failure that comes first on the way to an answer."""
    return min((check.exit_code for check in checks if check.status is Status.FAIL), default=0)


def _config(case: Case) -> tuple[Config, Check]:
    """What the file says, as far as it can be read."""
    config = Config()
    try:
        config = case.config()
        for name in config.presets:
            presets.find(name, config.presets, config.path)
    except QvisionError as error:
        return config, failed("config", error)
    is_there = config.defaults or config.profiles or config.presets or config.prices
    return config, ok("config", case.path if is_there else f"{case.path} sets nothing")


def _settings(settings: Settings) -> Iterator[Check]:
    for name in ("profile", "base_url", "model"):
        value, source = getattr(settings, name), settings.origins[name]
        if value is not None:
            yield ok(name, f"{value} ({source.where})")
        else:
            yield failed(name, _error(lambda: settings.asked_model) or ConfigError(f"there is no {name}"))


def _error(work: Callable[[], object]) -> QvisionError | None:
    try:
        work()
    except QvisionError as error:
        return error
    return None


def _asked(case: Case, settings: Settings) -> Iterator[Check]:
    """From the key to an answer."""
    if settings.offline:
        yield ok("key", "none is needed: --offline asks the built-in endpoint")
        yield from _endpoint(case, settings, None, may_ask=True)
        return
    key, check = _key(case, settings)
    yield check
    has_way = True
    for step in reachability.walk(settings.base_url, case.seconds):
        yield step
        has_way = step.status is not Status.FAIL
    if has_way:
        yield from _endpoint(case, settings, key, may_ask=check.status is not Status.FAIL)


def _key(case: Case, settings: Settings) -> tuple[str | None, Check]:
    try:
        found = bounded(lambda: case.find_key(settings), case.seconds)
        sent = credentials.required(found, settings)
    except TimeoutError:
        error = ConfigError(f"the key was not to be had within {case.seconds:g} s", hint="Unlock the keyring.")
        return None, failed("key", error)
    except QvisionError as error:
        return None, failed("key", error)
    if found is not None and found.barred is not None:
        said = f"{hinted(found.text)} from {found.where} is not sent: {found.barred}"
        return None, warned("key", said, "Where the endpoint wants one: qvision auth login")
    if found is None:
        return None, ok("key", "a header takes its place" if settings.has_authorization else "none, and none is needed")
    return sent, ok("key", f"{hinted(found.text)} from {found.where}")


def _endpoint(case: Case, settings: Settings, key: str | None, *, may_ask: bool) -> Iterator[Check]:
    try:
        with case.open_endpoint(settings, key, case.seconds) as endpoint:
            answers = True
            for check in _models(case, settings, endpoint, may_ask=may_ask):
                yield check
                answers = answers and not _stops(check)
        if case.asks and may_ask and answers and settings.model is not None:
            seconds = case.timeout or _SECONDS_TO_ANSWER
            with case.open_endpoint(settings, key, seconds) as endpoint:
                yield _request(settings, endpoint, seconds)
    except QvisionError as error:  # what the endpoint cannot even begin with
        yield failed("endpoint", error)


def _stops(check: Check) -> bool:
    """Whether nothing can be asked after this: a list that is broken is not what an answer needs, but a key is."""
    return check.status is Status.FAIL and (check.name != "models" or check.exit_code == 3)


def _models(case: Case, settings: Settings, endpoint: Endpoint, *, may_ask: bool) -> Iterator[Check]:
    """Ask for the list of models; whatever comes back over HTTP shows that the endpoint is there."""
    there = f"{endpoint.host} answers"
    try:
        models = bounded(lambda: listing.at_once(endpoint, case.seconds), case.seconds + _GRACE)
    except listing.NoListError as error:
        yield ok("endpoint", there)
        yield warned("models", error.message, "The model's name cannot be checked; the rest works all the same.")
    except (TimeoutError, EndpointError) as error:
        ours = _in_time(error, endpoint, case.seconds)
        is_there = not isinstance(ours, NetworkError) and ours.code != "protocol"
        if is_there:
            yield ok("endpoint", there)
        if is_there and not may_ask:
            yield warned("models", "not told without a key", None)
        else:
            yield failed("models" if is_there else "endpoint", ours)
    else:
        yield ok("endpoint", there)
        case.keep(settings, models)
        yield from _listed(settings, models)


def _in_time(error: Exception, endpoint: Endpoint, seconds: float) -> EndpointError:
    """The error in terms of ``--timeout``, which is what limits a check."""
    if isinstance(error, EndpointError) and error.code not in _LATE:
        return error
    said = f"{endpoint.host} did not answer within {seconds:g} s"
    return NetworkError(said, hint="Try again, or raise --timeout.", code="timeout")


def _listed(settings: Settings, models: tuple[str, ...]) -> Iterator[Check]:
    yield ok("models", f"{len(models)} in the endpoint's list")
    model = "offline" if settings.offline else settings.model
    if model is not None and model not in models:
        yield warned("listed", f"{model} is not among them", "See which there are: qvision models; choose with -m.")


def _request(settings: Settings, endpoint: Endpoint, seconds: float) -> Check:
    request = chat.Request(
        model=settings.asked_model,
        prompt="Which colour is this?",
        pictures=(),
        max_tokens=_MAX_TOKENS,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )
    images = Workshop(Limits(), threads=1).start([Bytes("a test image", _picture())])
    items = description.describe(endpoint, request, images, labels=False, patience=Patience(0, max_time=seconds))
    try:
        answer = bounded(lambda: description.finished(items), seconds + _GRACE)
    except TimeoutError as error:
        return failed("request", _in_time(error, endpoint, seconds))
    return _judged(answer, endpoint, seconds)


def _judged(answer: Description, endpoint: Endpoint, seconds: float) -> Check:
    error = answer.error
    if error is not None and not (isinstance(error, IncompleteError) and answer.finish_reason == "length"):
        cause = error.__cause__ if isinstance(error, IncompleteError) else error
        is_late = isinstance(cause, EndpointError) and cause.code in _LATE
        return failed("request", _in_time(error, endpoint, seconds) if is_late else error)
    took = f"{answer.timing.total_seconds:.2f} s" if answer.timing.total_seconds is not None else "time"
    text = printable(endpoint.clean(" ".join(answer.text.split())))
    if not text:
        return ok("request", f"an image was answered to after {took}, within {_MAX_TOKENS} tokens with no text yet")
    shown = text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
    return ok("request", f"an image was described in {took}: {shown}")


def _picture() -> bytes:
    """A PNG of 64 × 64 pixels, all of one blue (PNG specification, sections 5 and 11)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x28\x50\xc8" * 64) * 64
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
