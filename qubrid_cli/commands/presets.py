"""``qvision presets``: the questions that have a name."""

import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, printable
from ..output import Output, say
from . import completing, questions

if TYPE_CHECKING:
    from ..configuration import Config
    from ..presets import Preset

_SETTINGS = ("system", "max_tokens", "temperature", "top_p")

app = typer.Typer(
    help="List and show presets, the questions that have a name.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_presets(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON.")] = False
) -> None:
    """List the presets and what they are for."""
    from .. import presets

    config, target = _config(), Output()
    table, wrong = presets.table(config.presets, config.path)
    if as_json:
        _write_json(list(_objects(table.values(), wrong)), target)
    else:
        _write_table(table, target)
    for error in wrong:
        say(f"note: {printable(error.message)}")


def _write_table(table: Mapping[str, "Preset"], target: Output) -> None:
    width = max(map(len, table)) + 2
    columns = shutil.get_terminal_size().columns
    for name, preset in table.items():
        aligned = f"{printable(name):{width}}{printable(preset.about)}"[:columns]
        target.write(aligned + "\n" if target.is_screen else f"{printable(name)}\t{printable(preset.about)}\n")


@app.command("show")
def show_preset(
    name: Annotated[str, typer.Argument(help="Which one.", show_default=False, autocompletion=completing.presets)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with its JSON Schema.")] = False,
) -> None:
    """Show what a preset asks, and what it sets."""
    preset, target = questions.preset(name, _config()), Output()
    if as_json:
        _write_json(_object(preset), target)
        return
    target.write(f"{preset.name}: {preset.about}\n\n{preset.prompt}\n")
    given = {key: getattr(preset, key) for key in _SETTINGS if getattr(preset, key) is not None}
    if given:
        target.write("\n" + "".join(f"{key}: {value}\n" for key, value in given.items()))
    if preset.schema is not None:
        target.write(f"\nschema:\n{textwrap.indent(_written(preset.schema), '    ')}\n")


def _config() -> "Config":
    from .. import configuration

    return configuration.read(os.environ)


def _objects(presets: Iterable["Preset"], wrong: list[ConfigError]) -> Iterator[dict[str, Any]]:
    """Presets as JSON; what is wrong with those whose schema is none goes with the other faults."""
    for preset in presets:
        try:
            yield _object(preset)
        except ConfigError as error:
            wrong.append(error)


def _written(schema: Any) -> str:
    """A schema as its author wrote it."""
    return textwrap.dedent(schema).strip() if isinstance(schema, str) else json.dumps(schema, default=str, indent=2)


def _object(preset: "Preset") -> dict[str, Any]:
    schema = questions.schema(None, preset, {})
    found = {key: getattr(preset, key) for key in ("name", "about", "prompt", *_SETTINGS)}
    return {**found, "schema": schema.document if schema else None}


def _write_json(value: object, target: Output) -> None:
    from .. import records

    target.write(records.json_text(value, indent=2 if target.is_screen else None) + "\n")


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="presets")
