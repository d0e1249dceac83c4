"""Presets, built-in and the user's, and what is put into prompts for each image."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.describe.prompt import build_placeholder_values, check_placeholders, expand_placeholders
from qubrid_cli.errors import ConfigError, UsageError
from qubrid_cli.images.sources import Bytes, File, Link, Source, Stdin
from qubrid_cli.library import request_builder
from qubrid_cli.schema import json_schema
from qubrid_cli.settings import presets
from qubrid_cli.settings.config_file import Config
from qubrid_cli.settings.resolve import resolve_with_preset

from ..conftest import Ask, Qvision
from ..support.server import Server

NAMES = ["describe", "caption", "alt", "ocr", "tags", "photo", "table", "chart", "ui", "json", "boxes"]


def test_the_built_in_presets_are_those_that_were_promised() -> None:
    assert list(presets.load_built_in_presets()) == NAMES


@pytest.mark.parametrize("preset", presets.load_built_in_presets().values(), ids=NAMES)
def test_a_built_in_preset_can_be_used_as_it_is(preset: presets.Preset) -> None:
    check_placeholders(preset.prompt, images=2)
    assert len(preset.about) <= 60
    assert preset.schema is None or json_schema.load_schema(preset.schema, where=preset.name).document["type"] in {
        "object",
        "array",
    }


def test_the_alternative_text_follows_w3c() -> None:
    prompt = presets.load_built_in_presets()["alt"].prompt
    assert [word for word in ("125 characters", '"image of"', "quotation marks", "matters") if word not in prompt] == []


def test_a_preset_of_the_users_own_joins_the_others() -> None:
    file = Path("/c.toml")
    own = {"receipt": {"prompt": "Read it.", "schema": "shop, total number", "max_tokens": 99}}
    found, wrong = presets.find_all(own, file)
    assert ([*found], wrong) == ([*NAMES, "receipt"], [])
    assert found["receipt"] == presets.Preset(
        "receipt", "Read it.", max_tokens=99, schema="shop, total number", about="Read it.", path=file
    )


def test_a_users_preset_lies_over_the_built_in_one_of_its_name() -> None:
    ours = presets.load_built_in_presets()["tags"]
    found = presets.find("tags", {"tags": {"temperature": 0.7, "schema": ""}}, Path("c.toml"))
    assert (found.prompt, found.temperature, found.schema, found.about) == (ours.prompt, 0.7, None, ours.about)


@pytest.mark.parametrize(
    ("given_", "about"),
    [({"prompt": "Be short."}, "Be short."), ({"prompt": "Be short.", "about": "mine"}, "mine"), ({"about": "x"}, "x")],
)
def test_a_prompt_of_the_users_own_is_told_of_in_its_own_words(given_: dict[str, str], about: str) -> None:
    assert presets.find("alt", {"alt": given_}, Path("c.toml")).about == about


def test_a_preset_that_cannot_be_used_is_in_nobodys_way(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[presets.x]\nschema = 'a'\n[presets.y]\nprompt = 'Why?'\nschema = 'a [['\n")
    env = {"QVISION_CONFIG": str(file)}
    assert describe(lighthouse, "-P", "alt", env=env).exit_code == 0
    run = describe(lighthouse, "-P", "x", env=env)
    assert (run.exit_code, run.stderr) == (
        3,
        f'error: {file}: presets.x has no prompt\nhint: It needs at least: prompt = "…"\n',
    )
    assert describe(lighthouse, "-P", "y", env=env).stderr.startswith(f"error: {file}: presets.y.schema: ")


@pytest.mark.parametrize(("arguments", "there"), [([], [*NAMES, "y"]), (["--json"], NAMES)])
def test_a_list_of_presets_leaves_out_what_cannot_be_used_and_says_so(
    arguments: list[str], there: list[str], qvision: Qvision, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[presets.x]\nschema = 'a'\n[presets.y]\nprompt = 'Why?'\nschema = 'a [['\n")
    run = qvision("presets", "list", *arguments, env={"QVISION_CONFIG": str(file)})
    text = run.stdout.decode()
    found = [one["name"] for one in json.loads(text)] if arguments else [x.split("\t")[0] for x in text.splitlines()]
    assert (run.exit_code, found) == (0, there)
    assert run.stderr.startswith(f"note: {file}: presets.x has no prompt\n")


def test_a_preset_finds_its_schema_beside_the_file_that_it_stands_in(
    describe: Ask, lighthouse: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "settings"
    (folder / "forms").mkdir(parents=True)
    (folder / "forms" / "words.json").write_text('{"type": "object", "properties": {"words": {"type": "array"}}}')
    env = {"QVISION_CONFIG": str(folder / "c.toml")}
    for schema_ in ("forms/words.json", "@forms/words.json"):
        (folder / "c.toml").write_text(f"[presets.x]\nprompt = 'Why?'\nschema = '{schema_}'\n")
        assert describe(lighthouse, "-P", "x", "--offline", "--field", "data.words", env=env).exit_code == 0
    (folder / "c.toml").write_text("[presets.x]\nprompt = 'Why?'\nschema = 'none.json'\n")
    run = describe(lighthouse, "-P", "x", env=env)
    assert (run.exit_code, f"presets.x.schema: cannot read {folder / 'none.json'}: " in run.stderr) == (3, True)


@pytest.mark.parametrize(
    ("given_", "says", "hint"),
    [
        ({"promt": "x"}, "presets.p has no key promt; did you mean prompt?", "Available: "),
        ({"max_tokens": 0}, "presets.p.max_tokens is below 1: 0", "For example: max_tokens = 2048"),
        ({"max_tokens": True}, "presets.p.max_tokens is not a whole number: True", "For example: max_tokens = 2048"),
        ({"temperature": float("nan")}, "presets.p.temperature is not a number: nan", "For example: temperature = 0.1"),
        ({"top_p": 1.5}, "presets.p.top_p is not between 0 and 1: 1.5", "For example: top_p = 1"),
        ({"schema": 5}, "presets.p.schema is not a string or a table: 5", 'For example: schema = "…"'),
        ({"verbatim": "no"}, "presets.p.verbatim is not true or false: 'no'", "For example: verbatim = true"),
        ({"prompt": 5}, "presets.p.prompt is not a string: 5", 'For example: prompt = "What is this?"'),
        ({"system": "x"}, "presets.p has no prompt", 'It needs at least: prompt = "…"'),
        ({"prompt": ""}, "presets.p has no prompt", 'It needs at least: prompt = "…"'),
        ("x", "presets.p is not a table", 'For example: [presets.p] and prompt = "…"'),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused(given_: Any, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        presets.find("p", {"p": given_}, Path("/c.toml"))
    assert (caught.value.message, str(caught.value.hint)[: len(hint)]) == (f"/c.toml: {says}", hint)
    found, wrong = presets.find_all({"p": given_, "q": {"prompt": "Why?"}}, Path("/c.toml"))
    assert ([*found], [error.message for error in wrong]) == ([*NAMES, "q"], [f"/c.toml: {says}"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tgas", "; did you mean tags?"), ("atl", "; did you mean alt?"), ("ALT", "; did you mean alt?"), ("x", "")],
)
def test_an_unknown_preset_names_the_others(describe: Ask, server: Server, name: str, meant: str) -> None:
    run = describe("a.jpg", "-P", name)
    assert (run.exit_code, run.stdout, server.asked) == (2, b"", [])
    assert run.stderr == f"error: there is no preset {name}{meant}\nhint: Available: {', '.join(NAMES)}\n"


def test_a_pipe_gets_a_name_and_what_it_is_for_on_each_line(qvision: Qvision) -> None:
    lines = qvision("presets", "list").stdout.decode().splitlines()
    assert [line.split("\t") for line in lines] == [
        [found.name, found.about] for found in presets.load_built_in_presets().values()
    ]


def test_a_preset_is_shown_with_all_that_it_sets(qvision: Qvision) -> None:
    shown = qvision("presets", "show", "tags").stdout.decode()
    assert shown == (
        f"tags: {presets.load_built_in_presets()['tags'].about}\n\n{presets.load_built_in_presets()['tags'].prompt}\n\n"
        "temperature: 0.0\n\nschema:\n    tags [string]\n"
    )


def test_a_verbatim_preset_is_shown_as_one(qvision: Qvision) -> None:
    assert qvision("presets", "show", "ocr").stdout.endswith(b"\n\ntemperature: 0.0\nverbatim: true\n")


def test_presets_as_json_have_their_json_schema(qvision: Qvision) -> None:
    listed = json.loads(qvision("presets", "list", "--json").stdout)
    assert [found["name"] for found in listed] == NAMES
    shown = json.loads(qvision("presets", "show", "tags", "--json").stdout)
    assert shown == listed[NAMES.index("tags")]
    assert shown["schema"]["properties"] == {"tags": {"type": "array", "items": {"type": "string"}}}


def said(server: Server) -> str:
    """The prompt of the last request."""
    return str(server.asked[-1].json["messages"][-1]["content"][0]["text"])


def test_a_preset_is_asked_with_its_settings_and_a_prompt_goes_behind_it(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    ours = presets.load_built_in_presets()["ocr"]
    assert describe(lighthouse, "-P", "ocr").exit_code == 0
    assert (said(server), server.asked[0].json["temperature"]) == (ours.prompt, 0.0)
    describe(lighthouse, "Only the headlines.", "--preset", "ocr", "--temperature", "0.5")
    assert (said(server), server.asked[1].json["temperature"]) == (f"{ours.prompt}\n\nOnly the headlines.", 0.5)


def test_options_win_over_the_preset_and_the_preset_over_all_else() -> None:
    config = Config(presets={"p": {"prompt": "Read it.", "max_tokens": 9, "top_p": 0.5}}, defaults={"top_p": 0.7})
    preset, settings = resolve_with_preset({"max_tokens": 7}, {}, config, "p")
    assert preset is not None
    assert (preset.prompt, settings.max_tokens, settings.top_p) == ("Read it.", 7, 0.5)


def test_a_preset_whose_schema_is_none_is_a_matter_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"^presets\.p\.schema: unknown type 'b' at character 3: 'b'$"):
        request_builder.load_schema(None, presets.Preset("p", "Read it.", schema="a b"), {})


def test_a_schema_wins_over_that_of_the_preset(describe: Ask, server: Server, lighthouse: Path) -> None:
    run = describe(lighthouse, "-P", "tags", "--schema", "words [string]", "--offline", "--field", "data.words.0")
    assert (run.exit_code, server.asked) == (0, [])


def test_each_image_has_its_own_words_in_the_prompt(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "{index} holidays"
    folder.mkdir()
    for name in ("{dir}.jpg", "b.c.jpg"):
        (folder / name).write_bytes(lighthouse.read_bytes())
    words = 'No. {index}: {name}, {stem}, {dir}. {{name}} {x} {"a": {"b": 1}}'
    describe(folder / "{dir}.jpg", folder / "b.c.jpg", "--each", "-p", words, "-s", "{stem}")
    prompts = [asked.json["messages"][-1]["content"][0]["text"] for asked in server.asked]
    assert prompts == [
        'No. 1: {dir}.jpg, {dir}, {index} holidays. {name} {x} {"a": {"b": 1}}',
        'No. 2: b.c.jpg, b.c, {index} holidays. {name} {x} {"a": {"b": 1}}',
    ]
    assert [asked.json["messages"][0]["content"] for asked in server.asked] == ["{dir}", "b.c"]


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["{nmae}"], "unknown placeholder {nmae} in the prompt; did you mean {name}?", "For literal braces"),
        (
            ["-p", "a", "-s", "{filename}"],
            "unknown placeholder {filename} in the prompt; did you mean {name}?",
            "For literal braces",
        ),
        (
            ["Is it {stem}?", "{another}"],
            "{stem} in the prompt is ambiguous: the request has 2 images",
            "Add --each, to send one request per image.",
        ),
    ],
)
def test_words_that_cannot_be_filled_in_are_refused_before_anything_is_asked(
    describe: Ask, server: Server, large_lighthouse: Path, arguments: list[str], says: str, hint: str
) -> None:
    another = large_lighthouse.with_suffix(".gif")
    run = describe(large_lighthouse, *(another if text == "{another}" else text for text in arguments))
    assert (run.exit_code, run.stdout, server.asked) == (2, b"", [])
    assert run.stderr.startswith(f"error: {says}\nhint: {hint}")


KNOWN = {"name": "a.jpg", "stem": "a", "dir": "{name}", "index": "1"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{name}", "a.jpg"),
        ("{dir} {index}", "{name} 1"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{a.jpg}"),
        ("{{}}", "{}"),
        ("}} {{ }}", "}} { }"),
        ("{", "{"),
        ("{}", "{}"),
        ("{name", "{name"),
        ("{ name }", "{ name }"),
        ("{0} {name!r} {name:>9}", "{0} {name!r} {name:>9}"),
        ("{what} {x}", "{what} {x}"),
        (
            "{item} {names} {die} {dirs} {game} {steam} {indexes}",
            "{item} {names} {die} {dirs} {game} {steam} {indexes}",
        ),
        ('Return {"a": {"b": 1}}', 'Return {"a": {"b": 1}}'),
        ('{"a":{"b":{"c":1}}}', '{"a":{"b":{"c":1}}}'),
        ('{{"a": {{"b": "{name}"}}}}', '{"a": {"b": "a.jpg"}}'),
        ('{{"a": {{"b": 1}}}} {"a":{"b":1}}', '{"a": {"b": 1}} {"a":{"b":1}}'),
    ],
)
def test_words_in_braces_are_put_in_and_all_other_braces_stay(text: str, found: str) -> None:
    assert expand_placeholders(text, KNOWN) == found


@pytest.mark.parametrize(
    "text", ["{nmae}", "{naem}", "{Name}", "{NAME}", "{nname}", "{filename}", "{stme}", "{idx}", "{idex}", "{dri}"]
)
def test_a_slip_in_a_word_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        expand_placeholders(text, KNOWN)


@given(st.recursive(st.integers() | st.booleans(), lambda v: st.lists(v) | st.dictionaries(st.sampled_from("xyz"), v)))
def test_json_in_a_prompt_goes_out_unchanged(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, separators=(",", ":"))):
        assert expand_placeholders(text, KNOWN) == text


@given(st.lists(st.sampled_from(["name", "x", " ", "a.b", "\n"])))
def test_doubled_braces_are_braces_whatever_they_hold(words: list[str]) -> None:
    assert expand_placeholders(f"{{{{{''.join(words)}}}}}", KNOWN) == f"{{{''.join(words)}}}"


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (File("x", Path("/photos/2024/a.b.jpg")), ("a.b.jpg", "a.b", "2024")),
        (File("x", Path("/a.jpg")), ("a.jpg", "a", "")),
        (File("x", Path("/p/..//q/.hidden")), (".hidden", ".hidden", "q")),
        (File("x", Path("/\x1b[2J/\udcff\n.jpg")), (r"\udcff\n.jpg", r"\udcff\n", r"\x1b[2J")),
        (Link("https://h.example/p/a%20b.jpg?token=s", "x"), ("a b.jpg", "a b", "p")),
        (Link("https://h.example/a.jpg/", "x"), ("a.jpg", "a", "h.example")),
        (Link("https://h.example:8443/", "x"), ("h.example", "h", "")),
        (Link("https://h.example/%1b%5d0;x/%0a.jpg", "x"), (r"\n.jpg", r"\n", r"\x1b]0;x")),
        (Bytes("data:image/png;base64,…", b""), ("image", "image", "")),
        (Stdin(BytesIO()), ("image", "image", "")),
    ],
)
def test_what_an_image_is_called(image: Source, values: tuple[str, str, str]) -> None:
    found = build_placeholder_values(image, 7)
    assert (found["name"], found["stem"], found["dir"], found["index"]) == (*values, "7")


def test_the_folder_of_a_bare_name_is_the_one_we_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "summer").mkdir()
    monkeypatch.chdir(tmp_path / "summer")
    assert build_placeholder_values(File("a.jpg", Path("a.jpg")), 1)["dir"] == "summer"
