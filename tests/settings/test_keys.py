"""The key: where it comes from, where it may go; the environment is a dict, the file a real one."""

import sys
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.errors import AuthError, ConfigError, KeyringError
from qubrid_cli.settings import keys
from qubrid_cli.settings.config_file import validate_config
from qubrid_cli.settings.fields import Settings
from qubrid_cli.settings.keys import Key, Keychain
from qubrid_cli.settings.resolve import resolve


@pytest.mark.parametrize(
    "pasted",
    [
        "qk-1=a/b+c",
        "  qk-1=a/b+c\r\n",
        '"qk-1=a/b+c"',
        "'qk-1=a/b+c'",
        '" qk-1=a/b+c "',
        "Bearer qk-1=a/b+c",
        "bearer   qk-1=a/b+c",
        '"Bearer qk-1=a/b+c"',
        'Bearer "qk-1=a/b+c"',
        "QUBRID_API_KEY=qk-1=a/b+c",
        "export QUBRID_API_KEY='qk-1=a/b+c'\n",
        '$env:OPENAI_API_KEY = "qk-1=a/b+c"',
        "set HF_TOKEN=Bearer qk-1=a/b+c",
    ],
)
def test_what_people_paste_around_a_key_is_taken_off(pasted: str) -> None:
    assert keys.clean_pasted_key(pasted, "K") == "qk-1=a/b+c"


@pytest.mark.parametrize(
    ("pasted", "key"),
    [
        ("Bearer1234", "Bearer1234"),
        ("qk-bearer", "qk-bearer"),
        ("Bearer bearer", "bearer"),
        ("QKKEY=", "QKKEY="),
        ("QUBRID_API_KEY=", None),
        ("", None),
        (" '' ", None),
        ("Bearer ", None),
        ("Bearer", None),
    ],
)
def test_a_key_may_hold_the_word_itself_and_without_more_there_is_none(pasted: str, key: str | None) -> None:
    assert keys.clean_pasted_key(pasted, "K") == key


@pytest.mark.parametrize("key", ["qk 1", "qk\n1", "qk\r\nX-Evil: 1", "qk-…", "qk\x7f", "qk\x00", "qk\udc80"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(AuthError) as caught:
        keys.clean_pasted_key(key, "QUBRID_API_KEY")
    assert caught.value.format_report() == (
        "error: QUBRID_API_KEY contains a space, a line break or a character outside ASCII\n"
        "hint: Copy the key again from https://platform.qubrid.com/api-keys."
    )


class Chain(Keychain):
    """A keyring in memory."""

    def __init__(self, *, works: bool = True, is_installed: bool = True) -> None:
        self.kept: dict[str, str] = {}
        self._works = works
        self._is_installed = is_installed

    @property
    def is_installed(self) -> bool:
        return self._is_installed

    def get(self, name: str) -> str | None:
        return self.kept.get(name)

    def put(self, name: str, secret: str) -> None:
        if not self._works:
            raise KeyringError("the keyring does not answer: locked")
        self.kept[name] = secret

    def remove(self, name: str) -> None:
        del self.kept[name]


class Unused(Keychain):
    """A keyring that must not be opened."""

    def get(self, name: str) -> str | None:
        raise AssertionError(name)


MISSING, UNUSED = Chain(is_installed=False), Unused()


def settled(options: dict[str, Any] | None = None, env: dict[str, str] | None = None, **profile: Any) -> Settings:
    """The settings under a profile ``work``, or one that the options name."""
    table = {"profile": "work", "profiles": {"work": {"model": "m", **profile}}}
    return resolve(options or {}, env or {}, validate_config(table, Path("/c.toml")))


def find(settings: Settings, env: dict[str, str], file: Path, chain: Keychain | None = None) -> Key | None:
    return keys.find_key(settings, env, file, chain or UNUSED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "qvision" / "keys.toml"


HOME = "https://own.example.com/v1"
ENV = {"QUBRID_API_KEY": "qk", "OPENAI_API_KEY": "ok", "OPENROUTER_API_KEY": "rk", "MY_KEY": "mk"}


@pytest.mark.parametrize(
    ("options", "profile", "key"),
    [
        ({"profile": "qubrid"}, {}, Key("qk", "QUBRID_API_KEY")),
        ({"profile": "qubrid", "base_url": HOME}, {}, Key("qk", "QUBRID_API_KEY")),
        ({"profile": "openai"}, {}, Key("ok", "OPENAI_API_KEY")),
        ({"profile": "openrouter"}, {}, Key("rk", "OPENROUTER_API_KEY")),
        ({"profile": "ollama"}, {}, None),
        ({"profile": "lmstudio"}, {}, None),
        ({"profile": "vllm"}, {}, None),
        ({}, {}, Key("qk", "QUBRID_API_KEY")),
        ({}, {"key_env": "MY_KEY"}, Key("mk", "MY_KEY")),
        ({}, {"base_url": HOME}, None),
        ({}, {"base_url": HOME, "key_env": "MY_KEY"}, Key("mk", "MY_KEY")),
        ({}, {"base_url": HOME, "key_env": "QUBRID_API_KEY"}, Key("qk", "QUBRID_API_KEY")),
        ({}, {"base_url": HOME, "key_env": "NOT_SET"}, None),
        ({}, {"base_url": HOME, "key_env": "MY_KEY", "headers": {"Authorization": "Basic x"}}, None),
    ],
)
def test_a_variable_belongs_to_the_profile_that_names_it(
    options: dict[str, Any], profile: dict[str, Any], key: Key | None, file: Path
) -> None:
    assert find(settled(options, **profile), ENV, file) == key


def test_a_variable_that_sets_qubrids_address_takes_no_other_profiles_key_there(file: Path) -> None:
    settings = settled({"profile": "openai"}, {"QUBRID_BASE_URL": "https://evil.example.com/v1"})
    key = find(settings, ENV, file)
    barred = "https://evil.example.com/v1 is not the URL of profile openai"
    assert key == Key("ok", "OPENAI_API_KEY", barred)
    assert keys.require_key(key, settings) is None


def test_a_stored_key_is_found_where_no_variable_is_set(file: Path) -> None:
    settings = settled({"profile": "openai"})
    assert keys.store_key(settings, "sk", file, MISSING) == (str(file), None)
    assert find(settings, {}, file) == Key("sk", str(file))
    assert find(settings, ENV, file) == Key("ok", "OPENAI_API_KEY")


def test_a_stored_key_is_its_own_profiles(file: Path) -> None:
    keys.store_key(settled({"profile": "qubrid"}), "sk", file, MISSING)
    keys.store_key(settled({"profile": "ollama"}), "lk", file, MISSING)
    assert [find(settled({"profile": name}), {}, file) for name in ("qubrid", "ollama", "openai", "vllm")] == [
        Key("sk", str(file)),
        Key("lk", str(file)),
        None,
        None,
    ]


def test_a_profile_without_an_address_has_qubrids_key_until_it_has_one_itself(file: Path) -> None:
    keys.store_key(settled({"profile": "qubrid"}), "sk", file, MISSING)
    assert find(settled(), {}, file) == Key("sk", str(file))
    assert find(settled(base_url=HOME), {}, file) is None
    keys.store_key(settled(), "wk", file, MISSING)
    assert find(settled(), {}, file) == Key("wk", str(file))


@pytest.mark.parametrize(
    "base_url", ["http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://evil.example.com/v1"]
)
def test_a_stored_key_goes_to_the_origin_that_it_was_stored_for_and_no_other(base_url: str, file: Path) -> None:
    keys.store_key(settled({"profile": "openai"}), "sk", file, MISSING)
    elsewhere = settled({"profile": "openai", "base_url": base_url})
    key = find(elsewhere, {}, file)
    assert key == Key("sk", str(file), "it was stored for https://api.openai.com")
    assert keys.require_key(key, elsewhere) is None
    assert find(settled({"profile": "openai", "base_url": "https://api.openai.com/v2"}), {}, file) == Key(
        "sk", str(file)
    )


def test_the_keyring_is_opened_where_it_has_the_key_and_only_there(file: Path) -> None:
    chain, settings, other = Chain(), settled({"profile": "openai"}), settled({"profile": "qubrid"})
    assert keys.store_key(settings, "sk", file, chain) == ("the keyring", None)
    assert keys.store_key(other, "qk", file, MISSING) == (str(file), None)
    assert chain.kept == {"openai at https://api.openai.com": "sk"}
    assert "sk" not in file.read_text()

    assert find(settings, {}, file, chain) == Key("sk", "the keyring")
    assert keys.find_key(other, {}, file, UNUSED) == Key("qk", str(file))
    assert keys.find_key(settings, ENV, file, UNUSED) == Key("ok", "OPENAI_API_KEY")


def test_a_keyring_that_does_not_work_is_told_of_and_the_file_takes_its_place(file: Path) -> None:
    settings = settled({"profile": "openai"})
    kept = keys.store_key(settings, "sk", file, Chain(works=False))
    assert kept == (str(file), "the keyring does not answer: locked")
    assert find(settings, {}, file) == Key("sk", str(file))


def test_a_keyring_that_is_gone_or_has_lost_the_key_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, settings = Chain(), settled({"profile": "openai"})
    keys.store_key(settings, "sk", file, chain)
    with pytest.raises(AuthError, match=r"^the keyring has lost the key of profile openai$"):
        find(settings, {}, file, Chain())
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert not Keychain().is_installed
    with pytest.raises(KeyringError, match="which this qvision cannot open"):
        find(settings, {}, file, Keychain())


def test_a_key_is_forgotten_wherever_it_is_and_others_stay(file: Path) -> None:
    chain, settings = Chain(), settled({"profile": "openai"})
    keys.store_key(settled({"profile": "qubrid"}), "qk", file, MISSING)
    keys.store_key(settings, "sk", file, chain)
    assert keys.remove_key("openai", file, chain)
    assert (chain.kept, keys.remove_key("openai", file, chain)) == ({}, False)
    assert keys.read_key_file(file) == {"qubrid": keys.StoredKey("https://platform.qubrid.com", "qk")}


@pytest.mark.parametrize(
    ("options", "profile", "report"),
    [
        (
            {"profile": "qubrid"},
            {},
            (
                "error: no API key: QUBRID_API_KEY is not set, and none is stored for profile qubrid\n"
                "hint: Create a key at https://platform.qubrid.com/api-keys and run: qvision auth login, "
                "or: export QUBRID_API_KEY=YOUR_KEY; or add --offline to try it without."
            ),
        ),
        (
            {},
            {"base_url": HOME, "key_env": "MY_KEY"},
            (
                "error: no API key: MY_KEY is not set, and none is stored for profile work\n"
                "hint: Run: qvision auth login --profile work, "
                "or: export MY_KEY=YOUR_KEY; or add --offline to try it without."
            ),
        ),
    ],
)
def test_a_missing_key_is_an_error_where_one_is_needed(
    options: dict[str, Any], profile: dict[str, Any], report: str
) -> None:
    with pytest.raises(AuthError) as caught:
        keys.require_key(None, settled(options, **profile))
    assert (caught.value.exit_code, caught.value.code, caught.value.format_report()) == (3, "no_key", report)


def test_a_key_that_was_stored_for_elsewhere_is_an_error_where_one_is_needed() -> None:
    with pytest.raises(AuthError) as caught:
        keys.require_key(Key("qk", "keys.toml", "it was stored for http://h"), settled({"profile": "qubrid"}))
    assert caught.value.format_report() == (
        "error: the key from keys.toml is not sent: it was stored for http://h\nhint: Run: qvision auth login"
    )


@pytest.mark.parametrize(("options", "profile"), [({"profile": "ollama"}, {}), ({"offline": True}, {})])
def test_a_missing_key_is_fine_where_none_is_needed(options: dict[str, Any], profile: dict[str, Any]) -> None:
    assert keys.require_key(None, settled(options, **profile)) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_read_is_refused_with_what_to_run(mode: int, file: Path) -> None:
    settings = settled({"profile": "openai"})
    keys.store_key(settings, "sk-secret", file, MISSING)
    file.chmod(mode)
    for use in (
        lambda: find(settings, {}, file),
        lambda: keys.store_key(settings, "other", file, MISSING),
        lambda: keys.remove_key("openai", file, MISSING),
    ):
        with pytest.raises(ConfigError) as caught:
            use()
        assert caught.value.format_report() == (
            f"error: {file} holds keys, and other users can read it (mode {mode:04o})\nhint: Run: chmod 600 {file}"
        )
    assert "sk-secret" in file.read_text()


@pytest.mark.parametrize(
    "content",
    ["key = qk-secret", "[openai]\nkey = 'qk-secret'", "openai = 'qk-secret'", "[openai]\norigin = 1", "\xff"],
)
def test_a_broken_file_is_refused_and_nothing_of_it_repeated(content: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(content.encode("latin-1"))
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        keys.read_key_file(file)
    assert caught.value.format_report() == (
        f"error: {file} is not a valid key file\nhint: Remove it, and log in again: qvision auth login"
    )


def test_a_link_to_the_file_stays_and_its_target_changes(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept" / "my-keys.toml"
    file.parent.mkdir()
    file.symlink_to("../kept/my-keys.toml")
    keys.update_key_file(file, "a", keys.StoredKey("https://h", "qk"))
    assert (file.is_symlink(), keys.read_key_file(target)) == (True, {"a": keys.StoredKey("https://h", "qk")})
    assert target.stat().st_mode & 0o777 == 0o600


def test_any_key_that_can_be_sent_survives_the_file(file: Path) -> None:
    key = "".join(map(chr, range(0x21, 0x7F)))
    keys.update_key_file(file, "a-b_1", keys.StoredKey("https://h", key))
    assert keys.read_key_file(file) == {"a-b_1": keys.StoredKey("https://h", key)}
