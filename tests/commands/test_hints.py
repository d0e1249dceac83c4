"""The commands in hints: with the profile and the address in use, and about the source of the key that wins."""

from typing import Any

import pytest

from qubrid_cli.library.connection import build_hint_commands
from qubrid_cli.settings.config_file import Config
from qubrid_cli.settings.resolve import resolve

URL = "https://a.example/v1"


@pytest.mark.parametrize(
    ("options", "env", "key", "suffix", "key_hint"),
    [
        ({}, {}, None, "", None),
        ({"profile": "openai"}, {}, "k", " --profile openai", None),
        ({"base_url": URL}, {}, "k", f" --base-url {URL}", None),
        ({"base_url": f"{URL}/a;b"}, {}, "k", f' --base-url "{URL}/a;b"', None),
        (
            {"profile": "openai"},
            {"OPENAI_API_KEY": "k"},
            "k",
            " --profile openai",
            "The key is that of OPENAI_API_KEY, which wins over a stored one: set OPENAI_API_KEY to another key.",
        ),
        (
            {"profile": "openai"},
            {"OPENAI_API_KEY": "k", "QUBRID_BASE_URL": URL},
            None,
            " --profile openai",
            "OPENAI_API_KEY is sent only to the URL of its profile. To send it here, set the URL with --base-url.",
        ),
        ({}, {"QUBRID_API_KEY": " "}, None, "", None),
    ],
)
def test_hints_contain_the_profile_and_the_address_in_use(
    options: dict[str, Any], env: dict[str, str], key: str | None, suffix: str, key_hint: str | None
) -> None:
    commands = build_hint_commands(resolve(options, env, Config()), key, env)
    names = [f"qvision {name}{suffix}" for name in ("models", "auth status", "auth login")]
    assert [commands.models, commands.status, commands.login, commands.key_hint] == [*names, key_hint]
