"""``qvision presets``: the questions that have a name."""

import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..output.streams import Output, echo_err
from ..text import escape_control_characters
from . import _complete, _request

if TYPE_CHECKING:
    from ..settings.config_file import Config
    from ..settings.presets import Preset

_SHOWN_SETTINGS = ("system", "max_tokens", "temperature", "top_p")

app = typer.Typer(
    help="List and show presets, the questions that have a name.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_presets(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON.")] = False
) -> None:
    """List the presets and what they are for."""
    from ..settings.presets import resolve_all

    config, target = _read_config(), Output()
    table, wrong = resolve_all(config.presets, config.path)
    if as_json:
        _write_json(list(_build_objects(table.values(), wrong)), target)
    else:
        _write_table(table, target)
    for error in wrong:
        echo_err(f"note: {escape_control_characters(error.message)}")


def _write_table(table: Mapping[str, "Preset"], target: Output) -> None:
    width = max(map(len, table)) + 2
    columns = shutil.get_terminal_size().columns
    for name, preset in table.items():
        aligned = f"{escape_control_characters(name):{width}}{escape_control_characters(preset.about)}"[:columns]
        target.write(
            aligned + "\n"
            if target.is_terminal
            else f"{escape_control_characters(name)}\t{escape_control_characters(preset.about)}\n"
        )


@app.command("show")
def show_preset(
    name: Annotated[
        str, typer.Argument(help="Which one.", show_default=False, autocompletion=_complete.complete_presets)
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with its JSON Schema.")] = False,
) -> None:
    """Show what a preset asks, and what it sets."""
    preset, target = _request.find_preset(name, _read_config()), Output()
    if as_json:
        _write_json(_build_object(preset), target)
        return
    target.write(f"{preset.name}: {preset.about}\n\n{preset.prompt}\n")
    given = {key: getattr(preset, key) for key in _SHOWN_SETTINGS if getattr(preset, key) is not None}
    if given:
        target.write("\n" + "".join(f"{key}: {value}\n" for key, value in given.items()))
    if preset.schema is not None:
        target.write(f"\nschema:\n{textwrap.indent(_format_schema(preset.schema), '    ')}\n")


def _read_config() -> "Config":
    from ..settings import config_file

    return config_file.load_config(os.environ)


def _build_objects(presets: Iterable["Preset"], errors: list[ConfigError]) -> Iterator[dict[str, Any]]:
    """Presets as JSON; what is wrong with those whose schema is none goes with the other faults."""
    for preset in presets:
        try:
            yield _build_object(preset)
        except ConfigError as error:
            errors.append(error)


def _format_schema(schema: Any) -> str:
    """A schema as its author wrote it."""
    return textwrap.dedent(schema).strip() if isinstance(schema, str) else json.dumps(schema, default=str, indent=2)


def _build_object(preset: "Preset") -> dict[str, Any]:
    schema = _request.load_schema(None, preset, {})
    found = {key: getattr(preset, key) for key in ("name", "about", "prompt", *_SHOWN_SETTINGS)}
    return {**found, "schema": schema.document if schema else None}


def _write_json(value: object, target: Output) -> None:
    from ..output import record

    target.write(record.json_text(value, indent=2 if target.is_terminal else None) + "\n")


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="presets")
