"""climlink: trained emulators of cloud and convection physics inside Fortran climate models.

What a script needs stands here; it is imported when it is first used, so that ``import climlink``
takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from climlink.architectures import register_architecture as register_architecture
    from climlink.data.store import ColumnStore as Store
    from climlink.evaluation.offline.evaluate import evaluate_offline as evaluate
    from climlink.packages.package import Package as Package
    from climlink.packages.package import open_package as open
    from climlink.packages.packaging import package as package
    from climlink.wrappers.catalogue import read_catalogue as read_catalogue
    from climlink.wrappers.layout import Coordinate as Coordinate
    from climlink.wrappers.normalization import Scaling as Scaling
    from climlink.wrappers.variable_sets import VariableSet as VariableSet
    from climlink.wrappers.variables import Variable as Variable

    __version__: str

_PUBLIC = {
    "open": ("climlink.packages.package", "open_package"),
    "Package": ("climlink.packages.package", "Package"),
    "package": ("climlink.packages.packaging", "package"),
    "Store": ("climlink.data.store", "ColumnStore"),
    "evaluate": ("climlink.evaluation.offline.evaluate", "evaluate_offline"),
    "register_architecture": ("climlink.architectures", "register_architecture"),
    "Coordinate": ("climlink.wrappers.layout", "Coordinate"),
    "Scaling": ("climlink.wrappers.normalization", "Scaling"),
    "Variable": ("climlink.wrappers.variables", "Variable"),
    "VariableSet": ("climlink.wrappers.variable_sets", "VariableSet"),
    "read_catalogue": ("climlink.wrappers.catalogue", "read_catalogue"),
}
"""Public name -> module and name there."""

__all__ = [
    "Coordinate",
    "Package",
    "Scaling",
    "Store",
    "Variable",
    "VariableSet",
    "__version__",
    "evaluate",
    "open",
    "package",
    "read_catalogue",
    "register_architecture",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from climlink.provenance import climlink_version

        value: Any = climlink_version()
    elif name in _PUBLIC:
        module, attribute = _PUBLIC[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
