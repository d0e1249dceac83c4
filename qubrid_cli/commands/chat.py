"""``qvision chat``: talk about images, with messages that are typed or come from a pipe."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..errors import UsageError
from ..library import image_options
from ..output.show import OutputOptions, RequestInfo
from ..output.streams import echo_note
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from ..chat.saving import SavedChat
    from ..settings.config_file import Config
    from ..settings.fields import Settings
    from ..settings.presets import Preset

app = typer.Typer()

_EXAMPLES = """\
qvision chat photo.jpg
qvision chat before.jpg after.jpg "what has changed?"
qvision chat plan.png --session plan.json
printf 'what is this?\\nhow old is it?\\n' | qvision chat photo.jpg"""


@app.command("chat", cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{options.EPILOG}")
@options.with_settings(
    *options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS, "labels", "loop_check"
)
def lead_chat(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE...] [PROMPT]",
            autocompletion=completions.complete_images,
            help="Files, URLs, quoted globs; and the first message.",
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    together: Annotated[bool, typer.Option("--together", help="Send more than 8 images in one message.")] = False,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="FILE",
            help="Keep the chat with its images in this file, and continue it.",
            autocompletion=completions.complete_files,
        ),
    ] = None,
    param: options.Param = None,
    no_stream: options.NoStream = False,
    original: options.Original = False,
    tiles: options.Tiles = None,
    crop: options.Crop = None,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    fetch: options.Fetch = None,
    as_json: options.Json = False,
    stats: options.Stats = None,
    thinking: options.Thinking = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    plain: options.Plain = None,
) -> None:
    """Talk about images, one question after another."""
    from ..chat import inputs, saving
    from ..chat.dialog import open_dialog
    from ..chat.requests import AnswerSource
    from ..images.arguments import classify

    show = OutputOptions(as_json, None, stats, thinking, quiet, verbose, plain)
    info = RequestInfo()
    with setup.recording_failures(info, show), ExitStack() as stack:
        config = setup.load_config()
        chosen_preset, settings = _resolve(context, config, preset)
        info.model = settings.model
        words = arguments or []
        stdin = _refuse_stdin([*words, prompt, system, password_file])
        info.prompt = setup.read_prompt("-p", prompt, stdin)
        system = setup.read_prompt("-s", system, stdin)
        page_options = setup.read_page_options(pages, frame, password_file, stdin)
        extra = setup.parse_params(param)
        file = None if session is None else stack.enter_context(saving.open_session(session))
        saved = None if file is None else file.load()
        needs_image = saved is None and bool(words or prompt or preset)
        classified = classify(
            words, has_prompt_option=prompt is not None, stdin=stdin, command="chat", needs_image=needs_image
        )
        info.images = classified.names
        info.prompt = inputs.compose_opening(info.prompt, classified.prompt, chosen_preset, settings)
        if classified.error is not None:
            raise classified.error
        if saved is not None:
            settings = _restore_model(settings, saved, quiet=quiet)
        conversation = inputs.begin_conversation(saved, system, chosen_preset, settings)
        message = inputs.fill_placeholders(conversation, info.prompt, classified.images, settings)
        loader = inputs.ImageLoader(
            settings,
            tile_options=image_options.read_tile_options(tiles, crop, None, has_schema=False),
            original=original,
            fetch=fetch,
            pages=page_options.choice,
            password=page_options.password,
        )
        images = loader.submit(classified.images, limit_hint=None if together else inputs.TOGETHER_HINT)
        setup.note_useless_pixels(settings, extra, quiet=quiet or original)
        source = stack.enter_context(
            AnswerSource(
                settings,
                setup.require_key(settings, quiet=quiet),
                extra=extra,
                stream=not no_stream,
                prices=config.prices,
                sends_soon=message is not None,
            )
        )
        conversation.images += [image.wait() for image in images]
        show = show.for_answers(None, chosen_preset)
        failure = open_dialog(conversation, source, loader, show, info.target, session=file).run(message)
    if failure is not None:
        raise typer.Exit(failure.exit_code)


def _resolve(context: typer.Context, config: "Config", preset_name: str | None) -> tuple["Preset | None", "Settings"]:
    """Find the preset of ``--preset``, and resolve the settings. A preset of the settings is for single answers only."""
    if preset_name is None:
        return None, setup.resolve_settings(context, config)
    return setup.resolve_preset_and_settings(context, config, preset_name)


def _refuse_stdin(texts: Sequence[str | None]) -> BinaryIO:
    """Return an empty stream in place of standard input, which holds the messages.

    Raises:
        UsageError: one of the arguments is ``-``.
    """
    if "-" in texts:
        raise UsageError("a chat reads its messages from standard input, so - cannot be used", hint="Name a file.")
    return setup.open_stdin([])


def _restore_model(settings: "Settings", saved: "SavedChat", *, quiet: bool) -> "Settings":
    from ..chat import inputs

    settings, note = inputs.restore_model(settings, saved)
    if note is not None and not quiet:
        echo_note(note)
    return settings
