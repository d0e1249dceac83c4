"""Records as a Parquet file, for DuckDB, pandas, Polars and Spark.

The columns are the keys of a record, in the order and with the types of ``description.schema.json``, and the same in every
file. A value whose keys that schema lists is a struct. A value that may be anything, such as ``data``, ``usage`` or ``row``, is
JSON text, because its type would differ between files. Values that their column cannot hold exactly are in the last column,
``other``, so nothing is lost.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ConfigError, StorageError
from ..frozen import frozen
from ..installation import format_install_command
from ..text import json_text
from .formatting import SCHEMA_FILE

if TYPE_CHECKING:
    import pyarrow as pa

    from .streams import ByteSink

#: The column for values that the others cannot hold exactly: a JSON object with keys of the record, or null.
OTHER_COLUMN = "other"
#: Records that are converted at once.
_BATCH = 512
#: The limits of a row group: its rows, as DuckDB and Arrow write them, and its bytes in memory.
_GROUP_ROWS, _GROUP_BYTES = 122_880, 32 << 20
_COMPRESSION = "zstd"
#: JSON types that a column holds as their own type.
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def require_library() -> None:
    """Check that the library for Parquet is installed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401  # only whether it can be loaded
    except ImportError as error:
        raise ConfigError(
            "Parquet needs an extra library",
            hint=f"Run: {format_install_command('pyarrow')}",
            code="needs_parquet",
        ) from error


def write_records(records: Iterable[Mapping[str, Any]], sink: "ByteSink") -> int:
    """Write records, such as those of a results file, as a Parquet file; return their number.

    Only one row group is in memory at a time. The sink is only written to, and is not closed.

    Args:
        records: objects as ``--json`` prints them; they may lack keys, and have others.

    Raises:
        ConfigError: the library is not installed.
    """
    require_library()
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = build_arrow_schema()
    rows, count = map(_build_row, records), 0
    with ParquetWriter(_PositionedSink(sink), schema, compression=_COMPRESSION) as writer:
        group: list[pa.RecordBatch] = []
        while chunk := list(islice(rows, _BATCH)):
            count += len(chunk)
            group.append(pa.RecordBatch.from_pylist(chunk, schema))
            if len(group) * _BATCH >= _GROUP_ROWS or sum(batch.nbytes for batch in group) >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group))
                group = []
        if group:
            writer.write_table(pa.Table.from_batches(group))
    return count


def read_records(file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Read the records of a file from ``write_records``, a few at a time; keys that may be null are never missing.

    Args:
        name: the name of the file, for errors.

    Raises:
        ConfigError: the library is not installed.
        StorageError: the file is damaged.
    """
    require_library()
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(_BATCH):
                yield from map(_build_record, batch.to_pylist())
    # The exceptions of pyarrow are subclasses of these.
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, RecursionError) as error:
        raise StorageError(f"{name} is damaged", hint="Delete it, and run the batch again.") from error


def build_arrow_schema() -> "pa.Schema":
    """The columns of every file, and their types."""
    import pyarrow as pa

    columns = [pa.field(name, field.column.build_type()) for name, field in _list_fields().items()]
    return pa.schema([*columns, pa.field(OTHER_COLUMN, pa.string())])


@frozen
class _Scalar:
    """A column of strings, integers, numbers or booleans.

    Attributes:
        kind: the type in JSON Schema.
    """

    kind: str

    def build_type(self) -> "pa.DataType":
        import pyarrow as pa

        return {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}[self.kind]

    def encode(self, value: Any) -> tuple[Any, bool]:
        """The value for the column, and whether ``decode`` restores the value of the record from it."""
        if isinstance(value, str) and self.kind == "string":
            text = _make_valid(value)
            return text, text == value
        if isinstance(value, bool) is not (self.kind == "boolean") or not isinstance(value, _PYTHON_TYPES[self.kind]):
            return None, value is None
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            return None, False
        return value, True

    def decode(self, value: Any) -> Any:
        """The value of the record."""
        return value


@frozen
class _Label:
    """A column of strings or numbers, such as the id of an image, as text; numbers are in ``other`` too."""

    def build_type(self) -> "pa.DataType":
        import pyarrow as pa

        return pa.string()

    def encode(self, value: Any) -> tuple[Any, bool]:
        """See ``_Scalar``."""
        if value is None:
            return None, True
        text = _make_valid(value if isinstance(value, str) else json_text(value))
        return text, text == value

    def decode(self, value: Any) -> Any:
        """See ``_Scalar``."""
        return value


@frozen
class _Json:
    """A column of JSON text."""

    def build_type(self) -> "pa.DataType":
        import pyarrow as pa

        return pa.string()

    def encode(self, value: Any) -> tuple[Any, bool]:
        """See ``_Scalar``."""
        return None if value is None else json_text(value), True

    def decode(self, value: Any) -> Any:
        """See ``_Scalar``."""
        return None if value is None else json.loads(value)


@frozen
class _List:
    """A column of lists."""

    item: "_Column"

    def build_type(self) -> "pa.DataType":
        import pyarrow as pa

        return pa.list_(self.item.build_type())

    def encode(self, value: Any) -> tuple[Any, bool]:
        """See ``_Scalar``."""
        if not isinstance(value, list):
            return None, value is None
        items = [self.item.encode(item) for item in value]
        return [item for item, _ in items], all(is_exact for _, is_exact in items)

    def decode(self, value: Any) -> Any:
        """See ``_Scalar``."""
        return None if value is None else [self.item.decode(item) for item in value]


@frozen
class _Struct:
    """A column of objects with known keys."""

    fields: Mapping[str, "_Field"]

    def build_type(self) -> "pa.DataType":
        import pyarrow as pa

        return pa.struct([pa.field(name, field.column.build_type()) for name, field in self.fields.items()])

    def encode(self, value: Any) -> tuple[Any, bool]:
        """See ``_Scalar``."""
        if not isinstance(value, Mapping):
            return None, value is None
        is_exact, result = value.keys() <= self.fields.keys(), {}
        for name, field in self.fields.items():
            result[name], is_field_exact = field.encode(value, name)
            is_exact = is_exact and is_field_exact
        return result, is_exact

    def decode(self, value: Any) -> Any:
        """See ``_Scalar``."""
        return None if value is None else _decode_fields(value, self.fields)


_Column = _Scalar | _Label | _Json | _List | _Struct


@frozen
class _Field:
    """A key of an object, and the column of its values.

    Attributes:
        is_nullable: the value may be null; otherwise null in the column means that the object lacks the key.
    """

    column: _Column
    is_nullable: bool

    def encode(self, values: Mapping[str, Any], name: str) -> tuple[Any, bool]:
        """The value for the column, and whether the object's key and value can be restored from it."""
        if (value := values.get(name)) is None:
            return None, self.is_nullable or name not in values
        return self.column.encode(value)


def _decode_fields(values: Mapping[str, Any], fields: Mapping[str, _Field]) -> dict[str, Any]:
    stored = {name: values.get(name) for name in fields}
    return {
        name: fields[name].column.decode(value)
        for name, value in stored.items()
        if value is not None or fields[name].is_nullable
    }


@cache
def _list_fields() -> Mapping[str, _Field]:
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    return _build_fields(schema["properties"], schema["$defs"])


def _build_fields(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, _Field]:
    return {name: _build_field(schema, definitions) for name, schema in properties.items()}


def _build_field(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> _Field:
    if (reference := schema.get("$ref")) is not None:
        schema = definitions[reference.rpartition("/")[2]]
    return _Field(_build_column(schema, definitions), "null" in schema.get("type", ("null",)))


def _build_column(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> _Column:
    """The column of the values that fit a part of ``description.schema.json``."""
    types = schema.get("type", ())
    types = {types} if isinstance(types, str) else {*types} - {"null"}
    if types == {"object"} and schema.get("additionalProperties") is False:
        return _Struct(_build_fields(schema["properties"], definitions))
    if types == {"array"} and "items" in schema:
        return _List(_build_field(schema["items"], definitions).column)
    if len(types) == 1 and (kind := types.copy().pop()) in _PYTHON_TYPES:
        return _Scalar(kind)
    return _Label() if types == {"string", "number"} else _Json()


def _build_row(record: Mapping[str, Any]) -> dict[str, Any]:
    fields, row = _list_fields(), dict[str, Any]()
    other = {name: value for name, value in record.items() if name not in fields}
    for name, field in fields.items():
        row[name], is_exact = field.encode(record, name)
        if not is_exact:
            other[name] = record[name]
    row[OTHER_COLUMN] = json_text(other) if other else None
    return row


def _build_record(row: Mapping[str, Any]) -> dict[str, Any]:
    record = _decode_fields(row, _list_fields())
    return record if row.get(OTHER_COLUMN) is None else record | json.loads(row[OTHER_COLUMN])


def _make_valid(text: str) -> str:
    r"""Make a text valid in UTF-8: the bytes of a file name that are not UTF-8 become ``\udc80`` to ``\udcff``."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class _PositionedSink:
    """A sink that counts its position, which pyarrow needs and a pipe does not have."""

    closed = False

    def __init__(self, sink: "ByteSink") -> None:
        self._sink = sink
        self._position = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._sink.write(view.tobytes())
        self._position += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        """Leave the sink open."""
