"""The settings, each declared once in ``Settings``, and the built-in profiles.

With a new attribute of ``Settings``, the config file and ``qvision config`` have a new key, and with ``variables``, the
environment too. One with an ``Option`` also needs its type in ``SettingOptions``, for Python programs, and its name in a
list in ``commands/shared/options.py``, such as ``IMAGE_SETTINGS``, from which the commands take their options.
"""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypedDict

from ..errors import ConfigError
from ..frozen import frozen
from .checks import (
    SWITCH_WORDS,
    Choice,
    Range,
    check_body_fields,
    check_color,
    check_header_name,
    check_headers,
    check_profile_name,
    check_query,
    check_switch,
    check_text,
    check_variable_name,
    get_origin,
    normalize_base_url,
)

#: Qubrid's own endpoint.
QUBRID_URL = "https://platform.qubrid.com/v1"
DEFAULT_PROFILE = "qubrid"

#: Only Qubrid's profile sends parameters that the user did not set: it documents them, and 16384 tokens overflow the
#: context window of most local models. The local models are small vision models, under the name that each server uses.
#: Images come first where the server's own documentation puts them first: vLLM's recipe for Qwen3-VL. Text comes first at
#: Qubrid (API reference), OpenRouter ("Image inputs": send the text prompt first), OpenAI ("Images and vision") and LM
#: Studio; Ollama takes the images out of the message, so the order has no effect.
BUILT_IN_PROFILES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT_PROFILE: {
        "base_url": QUBRID_URL,
        "model": "Qwen/Qwen3-VL-Plus",
        "max_tokens": 16_384,
        "temperature": 0.1,
        "top_p": 1.0,
        "key_env": "QUBRID_API_KEY",
    },
    "ollama": {"base_url": "http://localhost:11434/v1", "model": "qwen3-vl:8b"},
    "lmstudio": {"base_url": "http://localhost:1234/v1", "model": "qwen/qwen3-vl-8b"},
    "vllm": {"base_url": "http://localhost:8000/v1", "model": "Qwen/Qwen3-VL-8B-Instruct", "image_order": "first"},
    "openrouter": {
        "base_url": "https://openrouter.ai/api/v1",
        "model": "qwen/qwen3-vl-8b-instruct",
        "key_env": "OPENROUTER_API_KEY",
    },
    "openai": {
        "base_url": "https://api.openai.com/v1",
        "model": "gpt-6-luna",
        "key_env": "OPENAI_API_KEY",
        "decisions": True,
    },
}


@frozen
class Field:
    """The declaration of a setting.

    Attributes:
        check: takes a value from the file or an option, and returns the one to use; raises ``ValueError``, see ``checks``.
        example: a valid value, for hints.
        default: the value if no source sets one.
        variables: the environment variables that set it; the first one that is set wins.
        is_global: whether it may be at the top level of the file; keys and extra fields belong to a profile.
        is_in_profiles: whether it may be in a profile.
    """

    check: Callable[[Any], Any]
    example: str
    default: Any = None
    variables: tuple[str, ...] = ()
    is_global: bool = True
    is_in_profiles: bool = True
    __hash__ = object.__hash__  # Annotated hashes its arguments; the shared hash of all values takes longer

    def parse(self, text: str) -> Any:
        """The value for the text of an option or a variable; raises ``ValueError`` like ``check``."""
        if self.check is check_switch:
            return self.check(SWITCH_WORDS.get(text.strip().lower()))
        return self.check.parse(text) if isinstance(self.check, Range) else self.check(text)

    def format_example(self, name: str) -> str:
        """A line of TOML that sets the setting."""
        is_bare = re.fullmatch(r"[\d.]+|true|false|\{.*\}", self.example)
        return f"{name} = {self.example}" if is_bare else f'{name} = "{self.example}"'


@frozen
class Option:
    """The command-line option of a setting; a switch that is on by default has a ``--no-`` form.

    Attributes:
        metavar: stands for the value in the help; ``None`` for a switch.
        short: the short form, such as ``-m``.
    """

    help: str
    metavar: str | None = None
    short: str | None = None
    __hash__ = object.__hash__  # see Field


class OriginKind(enum.StrEnum):
    """The kinds of source that a value can come from; the first source with a value wins."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    CONFIG = "config"
    DEFAULT = "default"


@frozen
class ValueOrigin:
    """Where a value came from: the kind of source, and its name, such as ``QVISION_MODEL``."""

    kind: OriginKind
    location: str


@frozen
class Settings:
    """The settings of one run.

    Attributes:
        model: ``None`` if no source names one.
        base_url: without a slash at the end.
        max_tokens: not sent if ``None``, like ``temperature`` and ``top_p``.
        timeout: seconds without data.
        retry_max_wait: seconds between two attempts.
        max_time: seconds for a whole request; ``None`` for no limit.
        think: how much the model thinks before it answers: a value of ``--think``; ``None`` leaves it to the endpoint.
        detail: how closely the model looks at images; ``None`` leaves it to the endpoint.
        coordinates: in which form the model gives boxes; ``None`` to choose it by the model.
        image_order: whether the images come ``first`` or ``last``, after the text.
        params: further fields of the request's body.
        decisions: whether the endpoint has ``/decisions``, which answers yes-or-no questions with a probability.
        query: the query of the endpoint's URL, sent where the key may be sent.
        headers: extra headers, sent where the key may be sent.
        key_env: the environment variable with the profile's key; ``None`` if it has none.
        key_header: the header for the bare key, instead of ``Authorization: Bearer``.
        profile_base_url: the URL of the profile, which ``base_url`` may override; ``None`` for a profile that uses
            Qubrid's.
        origins: where the value of each setting came from, by its name.
    """

    profile: Annotated[
        str,
        Field(check_profile_name, "ollama", DEFAULT_PROFILE, ("QVISION_PROFILE",), is_in_profiles=False),
        Option("Profile to use, such as ollama. [qubrid]", "NAME"),
    ]
    model: Annotated[
        str | None,
        Field(check_text, "Qwen/Qwen3-VL-Plus", variables=("QVISION_MODEL", "QUBRID_MODEL")),
        Option("Model to use. [the profile's]", "ID", short="-m"),
    ]
    base_url: Annotated[
        str,
        Field(normalize_base_url, "http://localhost:11434/v1", variables=("QUBRID_BASE_URL",)),
        Option("Endpoint to use. [the profile's]", "URL"),
    ]
    max_tokens: Annotated[
        int | None, Field(Range(int, 1), "2048"), Option("At most N tokens in the answer. [qubrid: 16384]", "N")
    ]
    temperature: Annotated[float | None, Field(Range(float, 0), "0.1"), Option("Randomness. [qubrid: 0.1]", "X")]
    top_p: Annotated[float | None, Field(Range(float, 0, 1), "1"), Option("Nucleus sampling. [qubrid: 1]", "X")]
    think: Annotated[
        str | None,
        Field(Choice("on", "off", "low", "medium", "high", switch=("on", "off")), "off", variables=("QVISION_THINK",)),
        Option("How much the model thinks: on, off, low, medium or high.", "LEVEL"),
    ]
    timeout: Annotated[
        float,
        Field(Range(float, 0.001, 1e6), "300", 300.0),
        Option("Give up after this many seconds without data. [300]", "SECONDS"),
    ]
    retries: Annotated[int, Field(Range(int, 0), "4", 4), Option("Retries after a temporary failure. [4]", "N")]
    retry_max_wait: Annotated[
        float, Field(Range(float, 0, 1e6), "60", 60.0), Option("Longest wait before a retry. [60]", "SECONDS")
    ]
    max_time: Annotated[
        float | None, Field(Range(float, 0.001, 1e6), "600"), Option("Time limit of a request.", "SECONDS")
    ]
    allow_http: Annotated[
        bool,
        Field(check_switch, "true", default=False),
        Option("Send the key over plain http too, in a network that you trust."),
    ]
    offline: Annotated[
        bool,
        Field(check_switch, "true", default=False, variables=("QVISION_OFFLINE",)),
        Option("Use the built-in endpoint: no key, no network, no model."),
    ]
    prompt: Annotated[str | None, Field(check_text, "What is this?")]
    system: Annotated[str | None, Field(check_text, "Be brief.")]
    preset: Annotated[str | None, Field(check_text, "caption")]
    max_pixels: Annotated[
        int,
        Field(Range(int, 1024), "1048576", 2_621_440),  # images.tokens.QWEN3.max_pixels, without loading it for --help
        Option("Shrink images to at most N pixels. [2621440]", "N"),
    ]
    max_side: Annotated[
        int | None, Field(Range(int, 32), "1568"), Option("Shrink the longer side to at most N pixels.", "N")
    ]
    quality: Annotated[
        int | None,
        Field(Range(int, 1, 95), "85"),
        Option("JPEG quality. [85, and 90 for screenshots and pages of text]", "N"),
    ]
    detail: Annotated[
        str | None,
        Field(Choice("low", "high", "auto"), "low"),
        Option("How closely the model looks at images: low, high or auto.", "LEVEL"),
    ]
    image_order: Annotated[
        str,
        Field(Choice("first", "last"), "first", "last"),
        Option("Put images before the text (first) or after it (last). [the profile's]", "ORDER"),
    ]
    coordinates: Annotated[
        str | None,
        Field(Choice("relative-1000", "relative-1000-yx", "pixels", "fractions", "percent"), "pixels"),
        Option("How the model gives boxes: relative-1000, relative-1000-yx, pixels, fractions or percent.", "FORM"),
    ]
    background: Annotated[
        str | None,
        Field(check_color, "white"),
        Option("Color of transparent pixels: a name or #rrggbb. [white, or dark gray for light drawings]", "COLOR"),
    ]
    labels: Annotated[
        bool,
        Field(check_switch, "false", default=True),
        Option("Label the images of a request that has several. [--labels]"),
    ]
    loop_check: Annotated[
        bool,
        Field(check_switch, "false", default=True),
        Option("End an answer that repeats itself over and over. [--loop-check]"),
    ]
    params: Annotated[Mapping[str, Any], Field(check_body_fields, "{ seed = 42 }", {}, is_global=False)]
    decisions: Annotated[bool, Field(check_switch, "true", default=False, is_global=False)]
    query: Annotated[Mapping[str, str], Field(check_query, '{ api-version = "2024-10-21" }', {}, is_global=False)]
    headers: Annotated[Mapping[str, str], Field(check_headers, '{ X-Team = "vision" }', {}, is_global=False)]
    key_env: Annotated[str | None, Field(check_variable_name, "MY_API_KEY", is_global=False)]
    key_header: Annotated[str | None, Field(check_header_name, "api-key", is_global=False)]
    profile_base_url: str | None
    origins: Mapping[str, ValueOrigin]

    @property
    def required_model(self) -> str:
        """The model to use.

        Raises:
            ConfigError: no source names one, as in a profile that sets only a URL.
        """
        if self.model is None:
            raise ConfigError(
                f"profile {self.profile} has no model",
                hint=f"Use --model, or set one: qvision config set profiles.{self.profile}.model …",
            )
        return self.model

    @property
    def needs_key(self) -> bool:
        """Whether requests need a key: the profile has one, and requests go to the profile's own URL."""
        is_own_url = self.base_url == (self.profile_base_url or QUBRID_URL)
        return self.key_env is not None and is_own_url and not self.has_authorization

    @property
    def has_authorization(self) -> bool:
        """Whether a header replaces the key."""
        key_header = (self.key_header or "Authorization").lower()
        return any(name.lower() == key_header for name in self.headers)

    @property
    def is_base_url_trusted(self) -> bool:
        """Whether the profile's key and headers may be sent to ``base_url``.

        Qubrid's may be sent wherever ``QUBRID_BASE_URL`` and ``--base-url`` point. Those of a profile with a URL of its
        own may be sent there, or to ``--base-url``, but not to ``QUBRID_BASE_URL``.
        """
        return (
            self.profile_base_url is None
            or get_origin(self.profile_base_url) == get_origin(self.base_url)
            or self.origins["base_url"].kind is OriginKind.OPTION
        )


_DECLARATIONS = {
    name: hint.__metadata__ for name, hint in Settings.__annotations__.items() if hasattr(hint, "__metadata__")
}
#: The type of every setting, by its name.
TYPES: Mapping[str, Any] = {name: Settings.__annotations__[name].__origin__ for name in _DECLARATIONS}
#: Every setting by its name, in the order of ``Settings``.
FIELDS: Mapping[str, Field] = {name: field for name, (field, *_) in _DECLARATIONS.items()}
#: The settings that may be at the top level of the file, and those that may be in a profile.
GLOBAL_FIELDS = {name: field for name, field in FIELDS.items() if field.is_global}
PROFILE_FIELDS = {name: field for name, field in FIELDS.items() if field.is_in_profiles}
#: The settings that an option can set.
OPTIONS: Mapping[str, Option] = {name: option for name, (_, *options) in _DECLARATIONS.items() for option in options}


class SettingOptions(TypedDict, total=False):
    """The types of these options as arguments of ``Client`` in Python, whose user chooses the profile by position."""

    model: str | None
    base_url: str | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    think: str | bool | None
    timeout: float | None
    retries: int | None
    retry_max_wait: float | None
    max_time: float | None
    allow_http: bool | None
    offline: bool | None
    max_pixels: int | None
    max_side: int | None
    quality: int | None
    detail: str | None
    image_order: str | None
    coordinates: str | None
    background: str | None
    labels: bool | None
    loop_check: bool | None


def format_flag(name: str) -> str:
    """The option of a setting, such as ``--max-tokens``."""
    return f"--{name.replace('_', '-')}"


def get_default_image_order(profile: str) -> str:
    """The value of ``image_order`` for a profile if the user does not set it."""
    order: str = BUILT_IN_PROFILES.get(profile, {}).get("image_order", FIELDS["image_order"].default)
    return order


def list_available(names: Iterable[str]) -> str:
    """The hint that lists the valid names."""
    return f"Available: {', '.join(names)}"
