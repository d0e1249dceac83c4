"""The inputs of a chat: images of the command line and of ``/image``, the first message, and a saved session."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..images import arguments
from ..images.documents import expansion
from ..images.prepare import PendingImage, PreparationPool, PreparedImageOrLink
from ..images.sources import split_page
from ..library import image_options, request_builder
from ..operating_system import split_command
from ..settings.fields import OriginKind
from .conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..images.documents.pages import PageChoice
    from ..images.sources import Source
    from ..library.image_options import TileOptions
    from ..settings.fields import Settings
    from ..settings.presets import Preset
    from .saving import SavedChat

#: Hints about too many images in one message: on the command line, and in a chat.
TOGETHER_HINT = (
    f"If that is intended, add --together. For pages of a document: --pages 1-{image_options.MAX_IMAGES_PER_REQUEST}"
)
_LOAD_HINT = "Name some of them, such as page 3 of a document with #page=3; /image can add more."


class ImageLoader:
    """Loads images with the options of the command line.

    Args:
        original: do not shrink images.
        fetch: whether to download links here: all, none, or with ``None`` those that the endpoint cannot reach.
        pages: the pages of documents; ``None`` for all.
        password: the password of encrypted PDFs.

    Raises:
        UsageError: the options exclude each other.
    """

    def __init__(
        self,
        settings: "Settings",
        *,
        tile_options: "TileOptions",
        original: bool,
        fetch: bool | None,
        pages: "PageChoice | None",
        password: str | None,
    ) -> None:
        self._settings = settings
        self._limits = image_options.build_image_limits(settings, tile_options, original=original)
        self._fetch = fetch
        self._pages = pages
        self._password = password

    def submit(self, sources: "Sequence[Source]", *, limit_hint: str | None) -> "Sequence[PendingImage]":
        """Begin to prepare images, in threads.

        Args:
            limit_hint: the hint of the error about too many images; ``None`` to permit any number.

        Raises:
            ImageError: a document cannot be opened.
            UsageError: there are too many images.
        """
        sources = image_options.choose_downloads(sources, self._settings, fetch=self._fetch)
        sources, documents = expansion.expand_pages(sources, self._pages, self._password, each=False)
        if len(sources) > image_options.MAX_IMAGES_PER_REQUEST and limit_hint is not None:
            raise UsageError(f"{len(sources):,} images for one message", hint=limit_hint)
        return PreparationPool(self._limits, documents).submit(sources) if sources else ()

    def load(self, text: str) -> list[PreparedImageOrLink]:
        """Load the images that a text names: one file, or several words as in a shell.

        Raises:
            QvisionError: an image does not exist or cannot be used.
        """
        images = arguments.resolve_images(split_like_shell(text))
        return [image.wait() for image in self.submit(images, limit_hint=_LOAD_HINT)]


def split_like_shell(text: str) -> list[str]:
    """Split a text into words as a shell does, unless all of it is the name of a file, which may contain spaces."""
    page = split_page(text)
    if arguments.find_existing_path(text if page is None else page[0]) is not None:
        return [text]
    try:
        return split_command(text)
    except ValueError as error:
        raise UsageError(f"a quote is not closed: {text}", hint="Add it, or leave the first one out.") from error


def compose_opening(
    option_text: str | None, argument: str | None, preset: "Preset | None", settings: "Settings"
) -> str | None:
    """Compose the first message from the prompts of the preset and the command line; ``None`` if there is neither.

    Args:
        option_text: the text of ``-p``.

    Raises:
        UsageError: the answers to the preset are JSON.
    """
    if preset is not None and preset.schema is not None:
        raise UsageError(
            f"the answers to preset {preset.name} are JSON, but those of a chat are text",
            hint=f"For one answer: qvision describe photo.jpg -P {preset.name}",
        )
    if option_text is None and argument is None and preset is None:
        return None
    return request_builder.compose_prompt(option_text, argument, preset, settings)


def restore_model(settings: "Settings", saved: "SavedChat") -> "tuple[Settings, str | None]":
    """Put the model of a session into the settings, unless the command line names a model.

    Returns:
        The settings, and a note if the session belongs to another profile, whose model is then not used.
    """
    if settings.origins["model"].kind is OriginKind.OPTION:
        return settings, None
    if saved.profile != settings.profile:
        return settings, f"this chat began with {saved.model}; to continue with it: --profile {saved.profile}"
    return replace(settings, model=saved.model), None


def begin_conversation(
    saved: "SavedChat | None", system: str | None, preset: "Preset | None", settings: "Settings"
) -> Conversation:
    """Continue the conversation of a session, or begin a new one.

    Args:
        system: the text of ``-s``, which replaces the system prompt of a session.
    """
    if saved is None:
        return Conversation(system=request_builder.choose_system(system, preset, settings))
    if system is not None:
        saved.conversation.system = system
    return saved.conversation


def fill_placeholders(
    conversation: Conversation, opening: str | None, images: "Sequence[Source]", settings: "Settings"
) -> str | None:
    """Fill in the placeholders of the first message, which is returned, and of the system prompt of a new chat.

    Raises:
        UsageError: a placeholder is misspelled, or ambiguous because there are several images.
    """
    system = conversation.system if not conversation.turns else None
    request = request_builder.build_request(settings, opening or "", system, {}, stream=True)
    if not images or not request.may_have_placeholders:
        return opening
    try:
        request_builder.check_placeholders(request, images=expansion.count_files(images))
    except UsageError as error:
        if "ambiguous" in error.message:
            raise error.with_message(error.message, hint="Name one image, and add the others with /image.") from error
        raise
    request = request_builder.fill_placeholders(request, images, 1)
    if system is not None:
        conversation.system = request.system
    return None if opening is None else request.prompt
