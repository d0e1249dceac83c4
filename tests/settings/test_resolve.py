"""Settings: option over environment over profile over the file's top level over default, each with its source."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.errors import ConfigError
from qubrid_cli.images.tokens import QWEN3
from qubrid_cli.settings.checks import get_origin, normalize_base_url
from qubrid_cli.settings.config_file import Config, validate_config
from qubrid_cli.settings.fields import (
    BUILT_IN_PROFILES,
    FIELDS,
    QUBRID_URL,
    OriginKind,
    Settings,
    ValueOrigin,
)
from qubrid_cli.settings.resolve import resolve

DEFAULTS: dict[str, Any] = {
    "profile": "qubrid",
    "model": "Qwen/Qwen3-VL-Plus",
    "base_url": "https://platform.qubrid.com/v1",
    "max_tokens": 16_384,
    "temperature": 0.1,
    "top_p": 1.0,
    "think": None,
    "timeout": 300.0,
    "retries": 4,
    "retry_max_wait": 60.0,
    "max_time": None,
    "allow_http": False,
    "offline": False,
    "prompt": None,
    "system": None,
    "preset": None,
    "max_pixels": 2_621_440,
    "max_side": None,
    "quality": None,
    "background": None,
    "detail": None,
    "image_order": "last",
    "coordinates": None,
    "labels": True,
    "loop_check": True,
    "params": {},
    "decisions": False,
    "query": {},
    "headers": {},
    "key_env": "QUBRID_API_KEY",
    "key_header": None,
}
FILE = Path("/c.toml")
BUILT = ValueOrigin(OriginKind.DEFAULT, "built-in profile qubrid")
PLAIN = ValueOrigin(OriginKind.DEFAULT, "default")
SOURCES = {name: BUILT if name in BUILT_IN_PROFILES["qubrid"] else PLAIN for name in DEFAULTS}


def config(**tables: Any) -> Config:
    return validate_config(tables, FILE)


def settled(values: dict[str, Any], *sources: ValueOrigin, home: str | None = None) -> Settings:
    """The defaults but for some values, each with its source, or all with one."""
    each = sources * len(values) if len(sources) == 1 else sources
    origins = SOURCES | dict(zip(values, each, strict=True))
    return Settings(**(DEFAULTS | values), profile_base_url=home, origins=origins)


def option(name: str) -> ValueOrigin:
    return ValueOrigin(OriginKind.OPTION, name)


def variable(name: str) -> ValueOrigin:
    return ValueOrigin(OriginKind.ENVIRONMENT, name)


def test_every_setting_has_its_field_and_every_field_its_setting() -> None:
    assert {field.name for field in fields(Settings)} == {*FIELDS, "profile_base_url", "origins"}


def test_without_options_environment_and_file_all_is_as_documented() -> None:
    assert resolve({}, {}, Config()) == settled({})


#: A value for each setting in each place, in the order in which they win.
PLACES: dict[str, tuple[Any, Any, Any]] = {
    "model": ("o", "p", "c"),
    "base_url": ("http://o/v1", "http://p/v1", "http://c/v1"),
    "max_tokens": (1, 3, 4),
    "temperature": (0.1, 0.3, 0.4),
    "top_p": (0.1, 0.3, 0.4),
    "think": ("off", "low", "high"),
    "timeout": (1.0, 3.0, 4.0),
    "retries": (1, 3, 4),
    "retry_max_wait": (1.0, 3.0, 4.0),
    "max_time": (1.0, 3.0, 4.0),
    "allow_http": (True, False, True),
    "offline": (True, False, True),
    "prompt": ("o", "p", "c"),
    "system": ("o", "p", "c"),
    "preset": ("o", "alt", "ocr"),
    "max_pixels": (2001, 2003, 2004),
    "max_side": (101, 103, 104),
    "quality": (1, 3, 4),
    "background": ("#000000", "#333333", "#444444"),
    "detail": ("auto", "low", "high"),
    "image_order": ("first", "last", "first"),
    "coordinates": ("pixels", "percent", "fractions"),
    "labels": (True, False, True),
    "loop_check": (True, False, True),
    "params": ({"a": 1}, {"b": [1, {"c": None}]}, None),
    "decisions": (True, False, None),
    "query": ({"a": "o"}, {"a": "p"}, None),
    "headers": ({"X-A": "o"}, {"X-A": "p"}, None),
    "key_env": ("OPTION", "PROFILE", None),
    "key_header": ("x-option", "api-key", None),
}
VARIABLES = {"model": ("QVISION_MODEL", "e", "e"), "base_url": ("QUBRID_BASE_URL", "http://e/v1", "http://e/v1")}
VARIABLES |= {"offline": ("QVISION_OFFLINE", "1", True)}  # type: ignore[dict-item]
VARIABLES |= {"think": ("QVISION_THINK", "MEDIUM", "medium")}


@pytest.mark.parametrize("name", PLACES)
def test_the_first_place_that_says_something_wins(name: str) -> None:
    """Each place is taken away in turn, and the next one shows."""
    given, of_profile, of_file = PLACES[name]
    places: list[tuple[Any, ValueOrigin]] = [(given, option(f"--{name.replace('_', '-')}"))]
    file: dict[str, Any] = {"profile": "qubrid", "profiles": {"qubrid": {name: of_profile}}}
    env = {}
    if name in VARIABLES:
        env[VARIABLES[name][0]] = VARIABLES[name][1]
        places.append((VARIABLES[name][2], variable(VARIABLES[name][0])))
    places.append((of_profile, ValueOrigin(OriginKind.PROFILE, "profiles.qubrid in /c.toml")))
    if of_file is not None:
        file[name] = of_file
        places.append((of_file, ValueOrigin(OriginKind.CONFIG, "/c.toml")))
    places.append((DEFAULTS[name], SOURCES[name]))

    def found(options: dict[str, Any], env: dict[str, str], **tables: Any) -> tuple[Any, ValueOrigin]:
        settings = resolve(options, env, config(**tables))
        return getattr(settings, name), settings.origins[name]

    top = {key: value for key, value in file.items() if key == name}
    seen = [found({name: given}, env, **file), found({}, env, **file), found({}, {}, **file)]
    seen += [found({}, {}, **top), found({}, {})]
    assert list(dict.fromkeys(map(repr, seen))) == list(map(repr, places))


def test_a_profile_is_chosen_by_option_environment_file_or_nobody() -> None:
    file = config(profile="vllm")
    assert [
        (settings.profile, settings.origins["profile"])
        for settings in (
            resolve({"profile": "ollama"}, {"QVISION_PROFILE": "lmstudio"}, file),
            resolve({}, {"QVISION_PROFILE": "lmstudio"}, file),
            resolve({}, {}, file),
            resolve({}, {}, config()),
        )
    ] == [
        ("ollama", option("--profile")),
        ("lmstudio", variable("QVISION_PROFILE")),
        ("vllm", ValueOrigin(OriginKind.CONFIG, "/c.toml")),
        ("qubrid", PLAIN),
    ]


@pytest.mark.parametrize("name", sorted(set(BUILT_IN_PROFILES) - {"qubrid"}))
def test_a_built_in_profile_but_qubrid_sends_no_parameters_of_its_own(name: str) -> None:
    settings = resolve({"profile": name}, {}, config(model="for/qubrid"))
    assert (settings.max_tokens, settings.temperature, settings.top_p) == (None, None, None)
    assert (settings.base_url, settings.model) == (
        BUILT_IN_PROFILES[name]["base_url"],
        BUILT_IN_PROFILES[name]["model"],
    )
    assert settings.origins["model"] == ValueOrigin(OriginKind.PROFILE, f"built-in profile {name}")


def test_qubrid_keeps_its_parameters_under_another_address() -> None:
    settings = resolve({"base_url": "http://h/v1"}, {}, Config())
    assert settings == settled({"base_url": "http://h/v1"}, option("--base-url"))


def test_what_the_files_top_level_sets_is_sent_to_every_endpoint() -> None:
    settings = resolve({"profile": "ollama"}, {}, config(max_tokens=9))
    assert (settings.max_tokens, settings.origins["max_tokens"]) == (9, ValueOrigin(OriginKind.CONFIG, "/c.toml"))


def test_a_profile_of_the_users_lays_over_the_built_in_one_of_its_name() -> None:
    settings = resolve({"profile": "ollama"}, {}, config(profiles={"ollama": {"model": "mine"}}))
    own, built = (
        ValueOrigin(OriginKind.PROFILE, "profiles.ollama in /c.toml"),
        ValueOrigin(OriginKind.PROFILE, "built-in profile ollama"),
    )
    assert (settings.model, settings.origins["model"]) == ("mine", own)
    assert (settings.base_url, settings.origins["base_url"]) == ("http://localhost:11434/v1", built)


def test_to_name_the_default_profile_changes_nothing() -> None:
    file = config(model="mine", max_tokens=9)
    by_itself, named = resolve({}, {}, file), resolve({"profile": "qubrid"}, {}, file)
    assert named == replace(by_itself, origins={**by_itself.origins, "profile": option("--profile")})
    assert (named.model, named.origins["model"]) == ("mine", ValueOrigin(OriginKind.CONFIG, "/c.toml"))


def test_a_profile_without_an_address_is_qubrids() -> None:
    settings = resolve({"profile": "brief"}, {}, config(profiles={"brief": {"max_tokens": 9}}))
    sources = (option("--profile"), ValueOrigin(OriginKind.PROFILE, "profiles.brief in /c.toml"))
    assert settings == settled({"profile": "brief", "max_tokens": 9}, *sources)
    assert (settings.needs_key, settings.is_base_url_trusted) == (True, True)


def test_a_profile_with_an_address_and_without_a_model_says_how_to_name_one() -> None:
    with pytest.raises(ConfigError) as caught:
        _ = resolve({"profile": "work"}, {}, config(profiles={"work": {"base_url": "http://h/v1"}})).required_model
    assert caught.value.format_report() == (
        "error: profile work has no model\nhint: Use --model, or set one: qvision config set profiles.work.model …"
    )


@pytest.mark.parametrize(
    ("options", "env", "where"),
    [({"profile": "nope"}, {}, "--profile"), ({}, {"QVISION_PROFILE": "nope"}, "QVISION_PROFILE")],
)
def test_an_unknown_profile_is_refused_with_those_there_are(
    options: dict[str, Any], env: dict[str, str], where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(options, env, config(profiles={"work": {}}))
    assert caught.value.format_report() == (
        f"error: there is no profile nope, named by {where}\n"
        "hint: Available: qubrid, ollama, lmstudio, vllm, openrouter, openai, work"
    )


@pytest.mark.parametrize(
    ("options", "env", "profile", "needs"),
    [
        ({}, {}, {}, True),
        ({"base_url": f"{QUBRID_URL}/"}, {}, {}, True),
        ({"base_url": "https://platform.qubrid.com.evil.com/v1"}, {}, {}, False),
        ({}, {"QUBRID_BASE_URL": "http://h/v1"}, {}, False),
        ({}, {}, {"base_url": "http://h/v1"}, False),
        ({}, {}, {"base_url": "http://h/v1", "key_env": "K"}, True),
        ({}, {}, {"base_url": "http://h/v1", "key_env": "K", "headers": {"authorization": "Basic x"}}, False),
        ({"profile": "openai"}, {}, {}, True),
        ({"profile": "openrouter"}, {}, {}, True),
        ({"profile": "openai", "base_url": "http://h/v1"}, {}, {}, False),
        ({"profile": "ollama"}, {}, {}, False),
        ({"profile": "lmstudio"}, {}, {}, False),
        ({"profile": "vllm"}, {}, {}, False),
    ],
)
def test_a_key_is_needed_where_the_profile_has_one_and_an_address_of_its_own(
    options: dict[str, Any], env: dict[str, str], profile: dict[str, Any], *, needs: bool
) -> None:
    file = config(profile="work", profiles={"work": {"model": "m", **profile}})
    assert resolve(options, env, file).needs_key is needs


@pytest.mark.parametrize(
    ("options", "env", "profile", "trusted"),
    [
        ({}, {"QUBRID_BASE_URL": "http://h/v1"}, {}, True),
        ({"base_url": "http://h/v1"}, {}, {"base_url": "http://own/v1"}, True),
        ({}, {"QUBRID_BASE_URL": "http://own/v2"}, {"base_url": "http://own/v1"}, True),
        ({}, {"QUBRID_BASE_URL": "http://own:81/v1"}, {"base_url": "http://own/v1"}, False),
        ({}, {"QUBRID_BASE_URL": "https://own/v1"}, {"base_url": "http://own/v1"}, False),
    ],
)
def test_a_variable_that_is_qubrids_takes_no_other_profiles_key_elsewhere(
    options: dict[str, Any], env: dict[str, str], profile: dict[str, Any], *, trusted: bool
) -> None:
    file = config(profile="work", profiles={"work": {"model": "m", **profile}})
    assert resolve(options, env, file).is_base_url_trusted is trusted


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://h/v1", "https://h"),
        ("https://h:443/v1", "https://h"),
        ("http://h:80", "http://h"),
        ("http://h:443/v1", "http://h:443"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, found: str) -> None:
    assert get_origin(url) == found


def test_what_was_not_given_or_is_empty_counts_for_nothing() -> None:
    options = {"model": None, "offline": None}
    env = {"QVISION_MODEL": "", "QUBRID_BASE_URL": "", "QVISION_OFFLINE": "", "QVISION_TOP_P": "0.5"}
    assert resolve(options, env, Config()) == settled({})


def test_the_environment_is_brought_into_form() -> None:
    env = {"QVISION_MODEL": "Org/Model ", "QUBRID_BASE_URL": " http://a:1/v1/ "}
    values = {"model": "Org/Model ", "base_url": "http://a:1/v1"}
    assert resolve({}, env, Config()) == settled(values, variable("QVISION_MODEL"), variable("QUBRID_BASE_URL"))


@pytest.mark.parametrize(
    ("text", "offline"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        (" on ", True),
        ("0", False),
        ("False", False),
        ("no", False),
        ("off", False),
    ],
)
def test_a_switch_has_the_usual_words(text: str, *, offline: bool) -> None:
    found = resolve({}, {"QVISION_OFFLINE": text}, Config())
    assert found == settled({"offline": offline}, variable("QVISION_OFFLINE"))


@pytest.mark.parametrize(
    ("name", "text", "value"), [("retries", "3", 3), ("timeout", "1.5", 1.5), ("timeout", "2", 2.0)]
)
def test_a_number_can_come_from_text(name: str, text: str, value: float) -> None:
    assert repr(FIELDS[name].parse(text)) == repr(value)


@pytest.mark.parametrize("text", ["green", "GREEN", " Green", "#008000"])
def test_a_color_has_a_name_or_a_number(text: str) -> None:
    assert FIELDS["background"].parse(text) == "#008000"


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("retries", "x", "is not a whole number"),
        ("retries", "1.0", "is not a whole number"),
        ("retries", "-1", "is below 0"),
        ("timeout", "nan", "is not a number"),
        ("quality", "96", "is not between 1 and 95"),
        ("labels", "perhaps", "is neither true nor false"),
        ("background", "reddish", "is not a color: #rgb, #rrggbb or one of .*"),
        ("background", "#12345", "is not a color: #rgb, #rrggbb or one of .*"),
    ],
)
def test_text_that_is_not_a_value_of_the_setting_is_refused(name: str, text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{wrong}$"):
        FIELDS[name].parse(text)


def test_the_default_of_max_pixels_is_the_limit_of_the_default_model() -> None:
    assert FIELDS["max_pixels"].default == QWEN3.max_pixels


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://platform.qubrid.com/v1", QUBRID_URL),
        ("https://platform.qubrid.com/v1/", QUBRID_URL),
        ("https://platform.qubrid.com/v1/chat/completions", QUBRID_URL),
        ("https://platform.qubrid.com/v1/chat/completions/", QUBRID_URL),
        (" HTTPS://platform.qubrid.com/v1\n", QUBRID_URL),
        ("https://Platform.Qubrid.com/v1", QUBRID_URL),
        ("http://localhost:11434/v1", "http://localhost:11434/v1"),
        ("http://[::1]:8000/v1//", "http://[::1]:8000/v1"),
        ("http://h/v1//chat/completions", "http://h/v1"),
        ("http://h", "http://h"),
        ("http://h/", "http://h"),
        ("http://h/V1/Chat", "http://h/V1/Chat"),
        ("http://h/v1/chat/completions?a=b%20c&d", "http://h/v1?a=b+c&d="),
    ],
)
def test_an_address_has_one_form(text: str, url: str) -> None:
    assert normalize_base_url(text) == url


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is empty"),
        ("localhost:11434/v1", "is not an http or https URL"),
        ("ftp://h/v1", "is not an http or https URL"),
        ("http:///v1", "is not an http or https URL"),
        ("http://h:port/v1", "is not a URL"),
        ("http://h:70000/v1", "is not a URL"),
        ("http://[::1/v1", "is not a URL"),
        ("http://me:secret@h/v1", "must not contain a user name or password"),
        ("http://h/v1?a=1&a=2", "has a query parameter twice"),
        ("http://h/v1#a", "must not contain #"),
        ("http://h/v 1", "contains a space or a control character"),
        ("http://h/v\n1", "contains a space or a control character"),
        ("http://h/v\x7f1", "contains a space or a control character"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=rf"^{wrong.replace('?', '[?]')}$"):
        normalize_base_url(text)


WORK = {"base_url": "https://own/v1?code=1", "query": {"api-version": "2"}}


@pytest.mark.parametrize(
    ("options", "env", "profile", "base_url", "query"),
    [
        ({}, {}, WORK, "https://own/v1", {"api-version": "2", "code": "1"}),
        ({"base_url": "https://h/v1?b=3"}, {}, WORK, "https://h/v1", {"api-version": "2", "b": "3"}),
        ({}, {"QUBRID_BASE_URL": "https://h/v1?b=3"}, WORK, "https://h/v1", {"b": "3"}),
        ({}, {"QUBRID_BASE_URL": "https://h/v1"}, WORK, "https://h/v1", {}),
        (
            {},
            {"QUBRID_BASE_URL": "https://h/v1/chat/completions?api-version=2024-10-21"},
            {},
            "https://h/v1",
            {"api-version": "2024-10-21"},
        ),
    ],
)
def test_a_query_is_split_from_the_address_and_goes_only_where_the_key_may_go(
    options: dict[str, Any], env: dict[str, str], profile: dict[str, Any], base_url: str, query: dict[str, str]
) -> None:
    settings = resolve(options, env, config(profile="work", profiles={"work": {"model": "m", **profile}}))
    assert (settings.base_url, settings.query) == (base_url, query)


def test_the_query_of_an_address_has_its_origin() -> None:
    settings = resolve({}, {"QUBRID_BASE_URL": "https://h/v1?a=1"}, Config())
    assert settings.origins["query"] == variable("QUBRID_BASE_URL")


def test_an_address_with_a_query_is_the_profiles_own_all_the_same() -> None:
    file = config(profiles={"work": {"base_url": "https://own/v1?a=1", "key_env": "K"}})
    assert resolve({"profile": "work"}, {}, file).needs_key


@pytest.mark.parametrize(
    ("env", "model"),
    [
        ({"QUBRID_MODEL": "a/b"}, ("a/b", "QUBRID_MODEL")),
        ({"QUBRID_MODEL": "a/b", "QVISION_MODEL": "c/d"}, ("c/d", "QVISION_MODEL")),
        ({"QUBRID_MODEL": "a/b", "QVISION_MODEL": ""}, ("a/b", "QUBRID_MODEL")),
    ],
)
def test_the_variable_of_qubrids_other_programs_names_the_model_too(
    env: dict[str, str], model: tuple[str, str]
) -> None:
    settings = resolve({}, env, Config())
    assert (settings.model, settings.origins["model"].location) == model


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("think", "maybe", "is not one of on, off, low, medium, high"),
        ("think", 1, "is not one of"),
        ("detail", True, "is not one of low, high, auto"),
        ("params", {"model": "m"}, "contains model, which cannot be set here"),
        ("params", {"a": float("nan")}, "has a value for a that is not JSON"),
        ("params", [1], "is not a table"),
        ("query", {"a": [1]}, "has a value for 'a' that is not a printable string"),
        ("query", {"a": True}, "has a value for 'a' that is not a printable string"),
        ("query", "a=1", "is not a table of strings"),
        ("key_header", "api key", "is not the name of a header, such as api-key"),
        ("key_header", "Host", "is a header that the request sets itself"),
    ],
)
def test_an_invalid_value_of_the_file_is_refused(name: str, value: object, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{wrong}"):
        FIELDS[name].check(value)


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [("think", False, "off"), ("think", True, "on"), ("detail", " LOW ", "low"), ("query", {"v": 2}, {"v": "2"})],
)
def test_a_value_of_the_file_has_one_form(name: str, value: object, checked: object) -> None:
    assert FIELDS[name].check(value) == checked


@pytest.mark.parametrize(
    ("options", "env", "report"),
    [
        (
            {"base_url": "ftp://h"},
            {"QUBRID_BASE_URL": "http://fine/v1"},
            "error: --base-url is not an http or https URL: ftp://h\nhint: For example: http://localhost:11434/v1",
        ),
        (
            {},
            {"QUBRID_BASE_URL": "http://h/\x1b[2J"},
            (
                "error: QUBRID_BASE_URL contains a space or a control character: http://h/\\x1b[2J\n"
                "hint: For example: http://localhost:11434/v1"
            ),
        ),
        (
            {},
            {"QVISION_OFFLINE": "maybe"},
            "error: QVISION_OFFLINE is neither true nor false: maybe\nhint: For example: true",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_where_it_stands(
    options: dict[str, Any], env: dict[str, str], report: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(options, env, Config())
    assert caught.value.format_report() == report


@pytest.mark.parametrize(("options", "env"), [({"model": ""}, {}), ({"model": " "}, {}), ({}, {"QVISION_MODEL": " "})])
def test_a_model_without_a_name_is_refused(options: dict[str, Any], env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^(--model|QVISION_MODEL) is empty"):
        resolve(options, env, Config())


@pytest.mark.parametrize(
    "url", ["http://me:secret@h/v1", "http://me:sec@secret@h/v1", "me:secret@h/v1", "http://h/v1?key=secret#x"]
)
def test_a_password_is_not_repeated_in_the_message(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"base_url": url}, {}, Config())
    assert "sec" not in caught.value.format_report()
