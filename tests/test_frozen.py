"""The decorator for data classes."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, field, replace
from typing import Any

import pytest

from qubrid_cli.frozen import frozen


@frozen
class Size:
    """So many pixels."""

    width: int
    height: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height


@frozen
class Shape:
    """The same fields under another name."""

    width: int
    height: int = 1


@frozen
class Box:
    """Holds others; ``seen`` does not count."""

    sizes: tuple[Size, ...] = ()
    facts: dict[str, int] = field(default_factory=dict)
    seen: bool = field(default=False, compare=False)


@frozen
class Named:
    """Is equal by its name, whatever its case."""

    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.name.lower() == other.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        (Size(2, 3), Size(width=2, height=3), True),
        (Size(2), Size(2, 1), True),
        (Size(2, 3), Size(3, 2), False),
        (Size(2, 3), Shape(2, 3), False),
        (Size(2, 3), (2, 3), False),
        (Box((Size(1),), {"a": 1}), Box((Size(1),), {"a": 1}, seen=True), True),
        (Box((Size(1),)), Box((Size(2),)), False),
        (Named("a"), Named("A"), True),
    ],
)
def test_instances_of_one_class_with_equal_fields_are_equal(one: object, other: object, is_equal: bool) -> None:  # noqa: FBT001
    assert (one == other) is is_equal
    assert (one != other) is not is_equal


def test_instances_are_hashable() -> None:
    assert len({Size(1, 2), Size(1, 2), Size(2, 1), Shape(1, 2)}) == 3


def test_each_instance_has_a_default_of_its_own() -> None:
    assert Box().facts is not Box().facts


def test_instances_have_slots() -> None:
    size: Any = Size(1)
    with pytest.raises(AttributeError):
        size.depth = 1


def test_the_repr_shows_the_fields() -> None:
    assert repr(Box((Size(1, 2),))) == "Box(sizes=(Size(width=1, height=2),), facts={}, seen=False)"


def test_asdict_replace_and_match_work() -> None:
    assert asdict(Box((Size(1, 2),))) == {"sizes": ({"width": 1, "height": 2},), "facts": {}, "seen": False}
    assert replace(Size(1, 2), height=5) == Size(1, 5)
    match Size(1, 2):
        case Size(width, height):
            assert (width, height, Size(3, 4).pixels) == (1, 2, 12)


def test_a_class_that_is_used_before_its_base_has_the_fields_of_both() -> None:
    @frozen
    class Image:
        name: str

    @frozen
    class Document(Image):
        pages: int = 1

    @frozen
    class Scan(Document):
        """Adds no field."""

    assert repr(Scan("a", 2)).endswith("Scan(name='a', pages=2)")
    assert Document("a") == Document("a", 1)


def test_a_class_may_be_used_first_by_several_threads_at_once() -> None:
    """``dataclass`` takes the defaults out of a class, so another thread must not make it complete once more."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):

            @frozen
            class Base:
                names: dict[str, int] = field(default_factory=dict)

            @frozen
            class Derived(Base):
                count: int = 3

            with ThreadPoolExecutor(6) as pool:
                made = list(pool.map(lambda _, made=Derived: made(), range(6)))
            assert {(len(one.names), one.count) for one in made} == {(0, 3)}
    finally:
        sys.setswitchinterval(interval)
