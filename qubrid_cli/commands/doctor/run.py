"""The checks of ``qvision doctor`` in order: settings, key, network, endpoint, models, a request, this machine.

Each check is yielded as soon as it ends. It is skipped if a check that it depends on failed. Errors that a user, a file,
a server or a network can cause become failed checks and are never raised.
"""

import json
import os
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace

from ...client.endpoint import Endpoint
from ...client.models import NoModelListError, check_address, list_models_once
from ...client.retry import RetryLimits
from ...describe import run
from ...describe.endings import has_reached_token_limit
from ...describe.result import Description
from ...errors import ConfigError, EndpointError, IncompleteAnswerError, NetworkError, QvisionError
from ...images.encode import ImageLimits
from ...images.prepare import PreparationPool
from ...images.sources import Bytes
from ...library import connection, request_builder
from ...settings import config_file, keys, model_cache, presets
from ...settings.config_file import Config
from ...settings.fields import Settings
from ...text import escape_control_characters, mask_fields, mask_key, shorten
from . import probes
from .check import Check, CheckStatus, make_failure, make_ok, make_warning, run_with_timeout

#: Seconds for each check, and for the request: the server may have to load the model first.
_CHECK_SECONDS = 10.0
_REQUEST_SECONDS = 60.0
#: Seconds for local work, in addition to the time limit of the endpoint.
_GRACE_SECONDS = 2.0
#: Enough tokens to see that the model answers.
_MAX_TOKENS = 16
#: Characters of the answer that are shown.
_MAX_EXCERPT_LENGTH = 60
#: Codes of errors whose messages name options that ``doctor`` lacks, or has with another meaning.
_TIMEOUT_CODES = frozenset({"max_time", "timeout"})
#: A blue PNG of 64 × 64 pixels, made by ``PIL.Image.new("RGB", (64, 64), (40, 80, 200))``.
_TEST_IMAGE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAUUlEQVR42u3PMQ0AMAgAMJga5CAbWVPBQdI6aFZPXPbiOAEBAQEBAQEBAQEB"
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAYF9H5FYAcBOgaCWAAAAAElFTkSuQmCC"
)


def run_checks(
    resolve_settings: Callable[[Config], Settings], *, timeout: float | None, send_image: bool
) -> Iterator[Check]:
    """Run all checks, and yield each as soon as it ends.

    Args:
        timeout: seconds for each check; ``None`` for 10, and 60 for the request.
        send_image: whether to send a request with a test image, which costs a few tokens.
    """
    seconds = timeout or _CHECK_SECONDS
    config, check = _check_config()
    yield check
    try:
        settings = replace(resolve_settings(config), timeout=seconds)
    except QvisionError as error:
        yield make_failure("settings", error)
    else:
        yield from _check_settings(settings)
        yield from _check_key_and_endpoint(settings, (timeout or _REQUEST_SECONDS) if send_image else None)
    yield from probes.check_environment(os.environ, seconds)


def choose_exit_code(checks: list[Check]) -> int:
    """Return the lowest exit code of the failed checks: 3 before 5; 0 if none failed."""
    return min((check.exit_code for check in checks if check.status is CheckStatus.FAIL), default=0)


def _check_config() -> tuple[Config, Check]:
    """Load the file and check its presets; return an empty config if the file cannot be read."""
    config = Config()
    try:
        config = config_file.load_config(os.environ)
        for name in config.presets:
            presets.find(name, config.presets, config.path)
    except QvisionError as error:
        return config, make_failure("config", error)
    is_used = config.defaults or config.profiles or config.presets or config.prices
    return config, make_ok("config", str(config.path) if is_used else f"{config.path} sets nothing")


def _check_settings(settings: Settings) -> Iterator[Check]:
    yield make_ok("profile", f"{settings.profile} ({settings.origins['profile'].location})")
    url = connection.format_url(replace(settings, offline=False))
    yield make_ok("base_url", f"{url} ({settings.origins['base_url'].location})")
    try:
        yield make_ok("model", f"{settings.required_model} ({settings.origins['model'].location})")
    except ConfigError as error:
        yield make_failure("model", error)
    if settings.params:
        yield make_ok("params", f"{json.dumps(mask_fields(settings.params))} ({settings.origins['params'].location})")


def _check_key_and_endpoint(settings: Settings, request_seconds: float | None) -> Iterator[Check]:
    """Check everything from the key to the answer.

    Args:
        request_seconds: time limit of the request with a test image; ``None`` sends none.
    """
    key, check = _check_key(settings)
    yield check
    is_key_ok = check.status is not CheckStatus.FAIL
    if not settings.offline:
        for check in probes.check_network(settings.base_url, settings.timeout):
            yield check
            if check.status is CheckStatus.FAIL:
                return
    try:
        with connection.open_endpoint(settings, key) as endpoint:
            for check in _check_models(settings, endpoint, is_key_ok=is_key_ok):
                yield check
                # A request works without a list of models, but not without an endpoint or a valid key.
                if check.status is CheckStatus.FAIL and (check.name != "models" or check.exit_code == 3):
                    return
        if request_seconds is not None and is_key_ok and settings.model is not None:
            with connection.open_endpoint(replace(settings, timeout=request_seconds), key) as endpoint:
                yield _check_request(settings, endpoint, request_seconds)
    except QvisionError as error:  # an address, a proxy or a certificate file that cannot be used
        yield make_failure("endpoint", error)


def _check_key(settings: Settings) -> tuple[str | None, Check]:
    """Find the key, and check that there is one if it is needed; the key is ``None`` if none is sent."""
    if settings.offline:
        return None, make_ok("key", "not needed: --offline uses the built-in endpoint")
    try:
        key = run_with_timeout(lambda: connection.find_key(settings), settings.timeout)
        keys.require_key(key, settings)
    except TimeoutError:
        message = f"the keyring did not return the key within {settings.timeout:g} s"
        return None, make_failure("key", ConfigError(message, hint="Unlock the keyring."))
    except QvisionError as error:
        return None, make_failure("key", error)
    if key is None:
        is_replaced = settings.has_authorization
        header = settings.key_header or "Authorization"
        message = f"not needed: the {header} header is sent instead" if is_replaced else "not set, and not needed"
        return None, make_ok("key", message)
    message = f"{mask_key(key.text)} from {key.location}"
    if settings.key_header:
        message += f", in the header {settings.key_header}"
    if key.withheld_reason is not None:
        hint = "If the endpoint needs a key, run: qvision auth login"
        return None, make_warning("key", f"{message} is not sent: {key.withheld_reason}", hint)
    return key.text, make_ok("key", message)


def _check_models(settings: Settings, endpoint: Endpoint, *, is_key_ok: bool) -> Iterator[Check]:
    """Request the list of models; any HTTP response shows that the endpoint is there."""
    endpoint_check = make_ok("endpoint", f"{endpoint.host} answers")
    seconds = settings.timeout
    try:
        models = run_with_timeout(lambda: list_models_once(endpoint, seconds), seconds + _GRACE_SECONDS)
    except NoModelListError as error:
        yield endpoint_check
        yield _check_address(endpoint, error, seconds)
    except TimeoutError:
        yield make_failure("endpoint", _timeout_error(endpoint, seconds))
    except EndpointError as error:
        if error.code in _TIMEOUT_CODES:
            yield make_failure("endpoint", _timeout_error(endpoint, seconds))
        elif isinstance(error, NetworkError) or error.code == "protocol":
            yield make_failure("endpoint", error)
        else:
            yield endpoint_check
            if is_key_ok:
                yield make_failure("models", error)
            else:
                yield make_warning("models", "not listed without a key", None)
    else:
        yield endpoint_check
        if not settings.offline:
            model_cache.cache_models(config_file.get_cache_folder(), settings.base_url, models)
        yield make_ok("models", f"{len(models)} in the endpoint's list")
        model = "offline" if settings.offline else settings.model
        if model is not None and model not in models:
            suggestion = model_cache.suggest_model(model, models)
            similar = f"; did you mean {suggestion}?" if suggestion else ""
            hint = "See the list with: qvision models; choose a model with -m."
            yield make_warning("listed", f"{model} is not in the endpoint's list{similar}", hint)


def _check_address(endpoint: Endpoint, error: NoModelListError, seconds: float) -> Check:
    """Tell an endpoint that lists no models from a wrong address."""
    try:
        run_with_timeout(lambda: check_address(endpoint, error, seconds), seconds + _GRACE_SECONDS)
    except TimeoutError:
        pass  # the request is checked next
    except EndpointError as wrong_address:
        return make_failure("address", wrong_address)
    return make_warning("models", error.message, "The name of the model cannot be checked; everything else works.")


def _timeout_error(endpoint: Endpoint, seconds: float) -> NetworkError:
    """Return an error that names the ``--timeout`` of ``doctor``."""
    message = f"{endpoint.host} did not answer within {seconds:g} s"
    return NetworkError(message, hint="Try again, or raise --timeout.", code="timeout")


def _check_request(settings: Settings, endpoint: Endpoint, seconds: float) -> Check:
    request = request_builder.build_request(
        replace(settings, max_tokens=_MAX_TOKENS), "Which color is this?", None, {}, stream=True
    )
    images = PreparationPool(ImageLimits(), threads=1).submit([Bytes("a test image", _TEST_IMAGE)])
    items = run.describe(endpoint, request, images, run.RequestOptions(RetryLimits(0, max_time=seconds)))
    try:
        answer = run_with_timeout(lambda: run.collect(items), seconds + _GRACE_SECONDS)
    except TimeoutError:
        return make_failure("request", _timeout_error(endpoint, seconds))
    return _judge_answer(answer, endpoint, seconds)


def _judge_answer(answer: Description, endpoint: Endpoint, seconds: float) -> Check:
    error = answer.error
    # The request allows few tokens. A model that spends all of them on reasoning works.
    has_spent_tokens = isinstance(error, IncompleteAnswerError) and has_reached_token_limit(answer.finish_reason)
    if error is not None and not has_spent_tokens:
        cause = error.__cause__ if isinstance(error, IncompleteAnswerError) else error
        is_timeout = isinstance(cause, EndpointError) and cause.code in _TIMEOUT_CODES
        return make_failure("request", _timeout_error(endpoint, seconds) if is_timeout else error)
    duration = f"{answer.timing.total_seconds or 0:.2f} s"
    text = escape_control_characters(endpoint.redact(" ".join(answer.text.split())))
    if not text:
        return make_ok("request", f"received an answer in {duration}, with no text in its first {_MAX_TOKENS} tokens")
    return make_ok("request", f"described a test image in {duration}: {shorten(text, _MAX_EXCERPT_LENGTH)}")
