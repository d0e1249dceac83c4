"""A decorator for the data classes of this package: typed as frozen, with slots, and quick to define.

``dataclass(frozen=True, slots=True)`` generates and compiles six methods per class, and inspects every field. For the 60
such classes that a ``describe`` loads, most of which it never uses, that was an eighth of the time to its request. Here
the methods are shared, and ``dataclass`` makes the rest, ``__init__`` and the fields, when a class is first used. So
defining a class takes twice as long as one without a decorator, instead of 10 times.

What a maintainer must know: nothing is frozen at run time. mypy rejects an assignment to a field, Python does not. Since
instances are hashable and shared between threads, change them only with ``dataclasses.replace``.
"""

import sys
from _thread import RLock
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

_Class = TypeVar("_Class")
#: Held while a class is completed. It is reentrant, because the classes that it inherits from are completed meanwhile.
_completing = RLock()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_Class]) -> type[_Class]:
    """Make a data class whose fields only mypy protects; ``replace``, ``asdict`` and ``match`` work as usual.

    Instances are equal if they have the same class and equal fields.
    """
    for name, method in _SHARED_METHODS.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    if sys.version_info >= (3, 14):  # annotations are evaluated late there, and dataclass knows how
        return dataclass(repr=False, eq=False, slots=True)(cls)
    return _add_slots(cls)


def _add_slots(cls: type[_Class]) -> type[_Class]:
    """A copy of a class with slots, and with attributes that make it a data class when one of them is used."""
    own = [name for name, kind in vars(cls).get("__annotations__", {}).items() if not _is_class_variable(kind)]
    inherited = [name for base in reversed(cls.__mro__[1:]) for name in vars(base).get("__slots__", ())]
    names = tuple(dict.fromkeys([*inherited, *own]))
    attributes = {name: value for name, value in vars(cls).items() if name not in {*own, "__dict__", "__weakref__"}}
    attributes["__slots__"] = tuple(name for name in own if name not in inherited)
    attributes["__match_args__"] = names
    attributes["__dataclass_fields__"] = late_fields = _LateFields(cls)
    attributes.setdefault("__init__", _complete_and_init)
    metaclass: Any = type(cls)
    slotted: type[_Class] = metaclass(cls.__name__, cls.__bases__, attributes)
    slotted.__qualname__ = cls.__qualname__
    late_fields.slotted = slotted
    return slotted


def _is_class_variable(annotation: object) -> bool:
    is_text = isinstance(annotation, str) and annotation.startswith("ClassVar")
    return is_text or getattr(annotation, "__origin__", annotation) is ClassVar


class _LateFields:
    """Stands for the fields of a data class until they are used, and then makes the class complete."""

    slotted: type

    def __init__(self, original: type) -> None:
        self._original: Any = original

    def __get__(self, instance: object, owner: type) -> Any:
        """Give the class its ``__init__`` and its fields, and return the fields.

        Only one thread at a time: ``dataclass`` takes the defaults out of the class, so a second thread would find none.
        """
        slotted: Any = self.slotted
        with _completing:
            if vars(slotted)["__dataclass_fields__"] is self:
                dataclass(repr=False, eq=False)(self._original)
                slotted.__dataclass_params__ = self._original.__dataclass_params__  # for subclasses
                slotted.__init__ = self._original.__init__
                slotted.__dataclass_fields__ = self._original.__dataclass_fields__
        return self._original.__dataclass_fields__


def _complete_and_init(self: Any, *args: object, **values: object) -> None:
    fields(self)
    self.__init__(*args, **values)


def _get_compared_values(instance: Any) -> tuple[object, ...]:
    return tuple(getattr(instance, item.name) for item in fields(instance) if item.compare)


def _equals(self: Any, other: object) -> bool:
    return _get_compared_values(self) == _get_compared_values(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_get_compared_values(self))


def _format_repr(self: Any) -> str:
    values = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)
    return f"{type(self).__qualname__}({values})"


_SHARED_METHODS = {"__eq__": _equals, "__hash__": _hash, "__repr__": _format_repr}
