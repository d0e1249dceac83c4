"""``qvision presets``: list and show presets, which are named prompts."""

import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..library import request_builder
from ..output.streams import Output, echo_note
from ..text import escape_control_characters, json_text
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from ..settings.presets import Preset

_SHOWN_SETTINGS = ("system", "max_tokens", "temperature", "top_p", "verbatim")

_EXAMPLES = """\
qvision presets list
qvision presets show alt
qvision describe photo.jpg -P alt"""
app = typer.Typer(
    cls=help_layout.Group,
    name="presets",
    help="List and show presets, which are named prompts.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)


@app.command(
    "list", cls=help_layout.Command, epilog="qvision presets list\nqvision presets list --json | jq -r '.[].name'"
)
def list_presets(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as a JSON array.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """List the presets and what they are for."""
    from ..settings.presets import find_all

    config, output = setup.load_config(), Output()
    presets, errors = find_all(config.presets, config.path)
    if as_json:
        objects = []
        for preset in presets.values():
            try:
                objects.append(_build_object(preset))
            except ConfigError as error:
                errors.append(error)
        _write_json(objects, output)
    else:
        _write_table(presets, output)
    for problem in () if quiet else errors:
        echo_note(escape_control_characters(problem.message))


def _write_table(presets: Mapping[str, "Preset"], output: Output) -> None:
    """Write a line for each preset, cut to the width of a terminal; elsewhere, with a tab between name and purpose."""
    width = max(map(len, presets)) + 2
    columns = shutil.get_terminal_size().columns
    for name, preset in presets.items():
        shown_name, about = escape_control_characters(name), escape_control_characters(preset.about)
        output.write(
            (f"{shown_name:{width}}{about}"[:columns] if output.is_terminal else f"{shown_name}\t{about}") + "\n"
        )


@app.command(
    "show", cls=help_layout.Command, epilog="qvision presets show alt\nqvision presets show photo --json | jq .schema"
)
def show_preset(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the preset.", show_default=False, autocompletion=completions.complete_presets
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with its JSON Schema.")] = False,
) -> None:
    """Show the prompt, the settings and the schema of a preset."""
    from ..settings import presets

    config, output = setup.load_config(), Output()
    preset = presets.find(name, config.presets, config.path)
    if as_json:
        _write_json(_build_object(preset), output)
        return
    output.write(f"{preset.name}: {preset.about}\n\n{preset.prompt}\n")
    settings = {key: getattr(preset, key) for key in _SHOWN_SETTINGS if getattr(preset, key) is not None}
    if settings:
        output.write(
            "\n"
            + "".join(
                f"{key}: {value if isinstance(value, str) else json.dumps(value)}\n" for key, value in settings.items()
            )
        )
    if preset.schema is not None:
        output.write(f"\nschema:\n{textwrap.indent(_format_schema(preset.schema), '    ')}\n")


def _format_schema(schema: Any) -> str:
    """Format a schema as its author wrote it."""
    return textwrap.dedent(schema).strip() if isinstance(schema, str) else json.dumps(schema, default=str, indent=2)


def _build_object(preset: "Preset") -> dict[str, Any]:
    """Build the JSON object of a preset.

    Raises:
        ConfigError: the schema is invalid.
    """
    schema = request_builder.load_schema(None, preset, {})
    values = {key: getattr(preset, key) for key in ("name", "about", "prompt", *_SHOWN_SETTINGS)}
    return {**values, "schema": schema.document if schema else None}


def _write_json(value: object, output: Output) -> None:

    output.write(json_text(value, indent=2 if output.is_terminal else None) + "\n")
