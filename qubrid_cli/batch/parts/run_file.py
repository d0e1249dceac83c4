"""``run.json``: the question of a run in parts and its settings, from which each worker builds its requests. It has no secrets."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...client.request import Request
from ...client.thinking import Thinking
from ...errors import MissingObjectError, StorageError, UsageError
from ...frozen import frozen
from ...images.encode import ImageLimits
from ...images.tiles.choice import Crop, TileChoice
from ...metrics import Price
from ...text import mask_fields
from ..tasks import BatchRequest
from .output_folder import RUN_FILE, PartFormat, PartsOutput

if TYPE_CHECKING:
    from ...storage.folder import Folder

_FORMAT = 1
#: Fields of a request that do not change the question.
_SETTING_FIELDS = ("stream",)
#: Values that are named as a whole if anything in them differs.
_COMPARED_WHOLE = {"schema", "extra", "params", "crop", "tiles", "thinking"}
#: Fields of a request that a run never sets.
_UNUSED_FIELDS = ("images", "dropped", "response_format", "history", "follow_ups", "frequency_penalty")


@frozen
class RunDescription:
    """What a run asks about every image, and how.

    Attributes:
        schema: the JSON Schema of the answers; ``schema_name`` is its name.
        fetch: whether all links are downloaded, or none; ``None`` for those that the endpoint cannot reach.
        profile: for people who read the file, and for ``open_parts`` to compare, as ``base_url``; workers take both from
            the part.
        folder: the folder to which paths are relative.
        part_size: images in a part.
        part_format: of the results of parts.
    """

    batch_request: BatchRequest
    schema: Mapping[str, Any] | None = None
    schema_name: str | None = None
    retries: int = 4
    patience: float = 600.0
    request_timeout: float | None = None
    may_retry_incomplete: bool = False
    is_verbose: bool = False
    fetch: bool | None = None
    profile: str = ""
    base_url: str = ""
    folder: str = ""
    part_size: int = 200
    part_format: PartFormat = PartFormat.JSONL

    def encode(self) -> bytes:
        """Encode as the content of ``run.json``."""
        request = asdict(self.batch_request.request)
        settings = {name: request.pop(name) for name in _SETTING_FIELDS}
        for name in _UNUSED_FIELDS:
            del request[name]
        question = {
            "request": request,
            "images": asdict(self.batch_request.limits),
            "schema": self.schema,
            "reads_tiles": self.batch_request.reads_tiles,
            "key_fields": dict(self.batch_request.extra_facets),
        }
        settings |= {
            "schema_name": self.schema_name,
            "loop_check": self.batch_request.loop_check,
            "prices": {model: asdict(price) for model, price in self.batch_request.prices.items()},
            "retries": self.retries,
            "patience": self.patience,
            "request_timeout": self.request_timeout,
            "may_retry_incomplete": self.may_retry_incomplete,
            "is_verbose": self.is_verbose,
            "fetch": self.fetch,
            "profile": self.profile,
            "base_url": self.base_url,
            "folder": self.folder,
            "part_size": self.part_size,
            "part_format": self.part_format,
        }
        document = {"format": _FORMAT, "program": f"qvision {__version__}", "question": question, "settings": settings}
        return json.dumps(document, ensure_ascii=False, indent=1, default=list).encode() + b"\n"


def decode_description(data: bytes, place: str) -> RunDescription:
    """Decode the content of ``run.json``.

    Args:
        place: its path or URL, for errors.

    Raises:
        StorageError: it is damaged, or of another version of this program.
    """
    try:
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise StorageError(
                f"{place} was written by {document['program']}, which this version cannot read",
                hint="Use the same version of the program for the whole run.",
            )
        return _build_description(document["question"], document["settings"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{place} is damaged", hint="Name another folder after -o.") from error


def _build_description(question: dict[str, Any], settings: dict[str, Any]) -> RunDescription:
    fields = dict(question["request"])
    if (thinking := fields.pop("thinking")) is not None:
        fields["thinking"] = Thinking(**{name: _freeze(value) for name, value in thinking.items()})
    request = Request(images=(), **fields, **{name: settings.pop(name) for name in _SETTING_FIELDS})
    images = dict(question["images"])
    if (crop := images["crop"]) is not None:
        images["crop"] = Crop(_freeze(crop["numbers"]), crop["text"])
    if (tiles := images["tiles"]) is not None:
        images["tiles"] = TileChoice(**tiles)
    prices = {model: Price(**price) for model, price in settings.pop("prices").items()}
    part_format = PartFormat(settings.pop("part_format", PartFormat.JSONL))
    batch_request = BatchRequest(
        request,
        ImageLimits(**images),
        question["key_fields"],
        prices,
        loop_check=settings.pop("loop_check"),
        reads_tiles=question["reads_tiles"],
    )
    return RunDescription(batch_request, schema=question["schema"], part_format=part_format, **settings)


def _freeze(value: Any) -> Any:
    """Replace the lists in a JSON value by tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def begin_output(folder: "Folder", description: RunDescription, part_format: PartFormat | None = None) -> PartsOutput:
    """Write ``run.json`` if the output is new; otherwise check that its question is the same, and replace the settings.

    Args:
        part_format: of the results; ``None`` for the format of an existing output, or JSONL.

    Raises:
        UsageError: the output belongs to another question or has another format, or the description contains a secret.
    """
    _refuse_secrets(description)
    description = replace(description, part_format=part_format or PartFormat.JSONL)
    data = description.encode()
    if folder.create(RUN_FILE, data) is not None:
        return PartsOutput(folder, description.part_format)
    stored = folder.read_versioned(RUN_FILE)
    place = folder.url + RUN_FILE
    previous = decode_description(stored.data, place)
    old, new = json.loads(previous.encode()), json.loads(data)  # an older file lacks newer fields
    if names := list(_find_differences(old["question"], new["question"])):
        raise UsageError(
            f"{folder.url} holds the answers to another question: {', '.join(names)} "
            f"{'differs' if len(names) == 1 else 'differ'}",
            hint=f"Name another folder after -o, or repeat the options of the first run; they are in {place}.",
        )
    if part_format not in (None, previous.part_format):
        raise UsageError(
            f"the results in {folder.url} are {previous.part_format} files, and --part-format is {part_format}",
            hint="Leave out --part-format, or name another folder after -o.",
        )
    description = replace(description, folder=previous.folder, part_format=previous.part_format)
    if old["settings"] != new["settings"]:
        folder.update(RUN_FILE, description.encode(), stored.version)
    return PartsOutput(folder, previous.part_format)


def _refuse_secrets(description: RunDescription) -> None:
    request = description.batch_request.request
    for fields in (request.extra, request.params):
        for name, value in fields.items():
            if mask_fields(value, name) != value:
                raise UsageError(
                    f"the field {name} looks like a secret, and {RUN_FILE} would contain it",
                    hint="Send it as a header of the profile, in config.toml.",
                )


def _find_differences(old: Any, new: Any, name: str = "") -> "list[str]":
    """List the names of the values that differ, such as ``prompt``."""
    if not isinstance(old, dict) or not isinstance(new, dict) or name in _COMPARED_WHOLE:
        return [] if old == new else [name]
    differences = (_find_differences(old.get(key), new.get(key), key) for key in {**old, **new})
    return list(dict.fromkeys(chain.from_iterable(differences)))


def open_output(folder: "Folder") -> tuple[PartsOutput, RunDescription]:
    """Return the files of a run, and its description; exceptions are those of ``read_description``."""
    description = read_description(folder)
    return PartsOutput(folder, description.part_format), description


def read_description(folder: "Folder") -> RunDescription:
    """Read ``run.json``.

    Raises:
        StorageError: there is none, or it is damaged.
    """
    try:
        data = folder.read(RUN_FILE)
    except MissingObjectError as error:
        raise StorageError(
            f"there is no run in {folder.url}", hint="To start one: qvision batch … -o FOLDER/"
        ) from error
    return decode_description(data, folder.url + RUN_FILE)
