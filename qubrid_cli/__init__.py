"""qvision: ask vision models about images, from the command line or from Python.

>>> from qubrid_cli import describe
>>> print(describe("photo.jpg", "what is this?"))

A ``Client`` makes several requests. A ``Description`` is an answer with the facts about it. The errors are in
``qubrid_cli.errors``.
"""

import sys
from types import ModuleType

TYPE_CHECKING = False  # not imported: typing takes a third as long to load as Python takes to start
if TYPE_CHECKING:
    from .describe.result import Description  # noqa: TC004  # loaded by the class below
    from .library.api import Client, describe  # noqa: TC004

__all__ = ["Client", "Description", "__version__", "describe"]
__version__ = "0.2.0"


class _Package(ModuleType):
    """Loads what the package exports when it is first used."""

    def __getattr__(self, name: str) -> object:
        """Load an exported name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "Description":
            from .describe.result import Description

            return Description
        from .library import api

        return getattr(api, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Keep the name ``describe`` for the function: importing the sub-package of that name would set it."""
        if name != "describe":
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """All names, for completion in a notebook."""
        return sorted({*self.__dict__, *__all__})


sys.modules[__name__].__class__ = _Package
