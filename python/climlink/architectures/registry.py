"""Where networks come from: those built in, those that a file or an installed project registers."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, overload

from climlink.architectures.configuration import ArchitectureConfiguration, resolve
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.output_heads import with_heads, without_heads
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, RowNetwork, RowShape
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ClimlinkError, near_names, told
from climlink.wrappers.layout import Strict
from climlink.wrappers.network_check import check_network

GROUP = "climlink.architectures"
"""Entry points of this group name the modules of installed projects that register architectures."""

Network = TypeVar("Network", bound=type[ColumnEmulator] | type[RowNetwork])
Built = ColumnEmulator | RowNetwork
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class ArchitectureOrigin(Strict):
    """Where an architecture comes from: what a checkpoint needs to find it again."""

    kind: Literal["built_in", "plug_in", "file", "module"]
    where: str
    """The project and its entry point, the path of the file, or the module that registered it."""
    sha256: str | None = None
    """Digest of the file."""

    def __str__(self) -> str:
        if self.kind == "built_in":
            return "climlink itself"
        return f"{self.kind.replace('_', '-')} {self.where}"


@dataclass(frozen=True)
class Architecture:
    """A network class, called with (shape, configuration), the model of its configuration, and
    where they come from.
    """

    name: str
    network: type[ColumnEmulator] | type[RowNetwork]
    configuration: type[ArchitectureConfiguration]
    origin: ArchitectureOrigin

    def resolved(self, configuration: Mapping[str, Any]) -> ArchitectureConfiguration:
        """Return the configuration with its preset replaced by explicit numbers; ArchitectureError
        names what does not fit.
        """
        return resolve(self.name, self.configuration, configuration)

    def build(self, configuration: Mapping[str, Any], shape: ColumnShape | RowShape) -> Built:
        """Return a network with fresh weights from torch's random numbers; ArchitectureError if it
        cannot be made.
        """
        settings = self.resolved(configuration)
        wanted = RowShape if issubclass(self.network, RowNetwork) else ColumnShape
        if not isinstance(shape, wanted):
            got = type(shape).__name__
            raise ArchitectureError(
                f"architecture {self.name!r} needs a {wanted.__name__}, got a {got}"
            )
        try:
            return self.network(shape, settings)  # type: ignore[call-arg, arg-type]
        except ClimlinkError:
            raise
        except Exception as error:
            what = f"architecture {self.name!r} of {self.origin}"
            raise ArchitectureError(f"{what} cannot be built: {told(error)}") from error

    def build_for(self, contract: EmulatorContract, configuration: Mapping[str, Any]) -> Built:
        """Return a network for a contract's rows, or its columns, with the ``output_heads`` that
        stand in the configuration; ArchitectureError or ContractError if it cannot be made or run.
        """
        rows = issubclass(self.network, RowNetwork)
        own, settings, heads = without_heads(contract, configuration)
        network = self.build(settings, own.row_shape if rows else own.network_shape)
        if self.origin.kind != "built_in":
            check_network(network, own)
        return with_heads(network, own, heads)


_BUILT_IN_MODULES = (
    "linear",
    "mlp",
    "unet",
    "squeezeformer",
    "pure_reslstm",
    "pao",
    "convnext",
    "encoder_decoder_lstm",
    "composed",
)
_BUILT_IN: dict[str, Architecture] = {}
_REGISTERED: dict[str, Architecture] = {}
_FILES: dict[tuple[str, str], dict[str, Architecture]] = {}
"""What files registered, by path and digest: each is a namespace of its own."""


@dataclass
class _Loading:
    """A plug-in or file that is being loaded, and what it has registered so far."""

    origin: ArchitectureOrigin
    table: dict[str, Architecture]


_LOADING: ContextVar[_Loading | None] = ContextVar("loading", default=None)


@overload
def register_architecture(
    name: str,
    network: Network,
    configuration: type[ArchitectureConfiguration] = ArchitectureConfiguration,
) -> Network: ...
@overload
def register_architecture(
    name: str, *, configuration: type[ArchitectureConfiguration] = ArchitectureConfiguration
) -> Callable[[Network], Network]: ...
def register_architecture(
    name: str,
    network: Any = None,
    configuration: type[ArchitectureConfiguration] = ArchitectureConfiguration,
) -> Any:
    """Make a network class known by name, in training files and to ``build``; without a class,
    return a decorator for one.

    ``network(shape, configuration)`` is a ColumnEmulator with a ColumnShape or a RowNetwork with a
    RowShape; ``configuration`` is the model of its settings. ArchitectureError for a name that is
    taken, saying by what, and for what is no network or configuration.
    """
    if network is None:
        return lambda decorated: register_architecture(name, decorated, configuration)
    if not _NAME.fullmatch(name):
        allowed = "letters, digits, '_', '.' and '-', a letter first"
        raise ArchitectureError(f"architecture {name!r}: a name is {allowed}")
    _require_class(name, "network", network, (ColumnEmulator, RowNetwork))
    _require_class(name, "configuration", configuration, (ArchitectureConfiguration,))
    loading = _LOADING.get()
    where = f"{network.__module__}.{network.__qualname__}"
    origin = loading.origin if loading else ArchitectureOrigin(kind="module", where=where)
    new = Architecture(name, network, configuration, origin)
    table = loading.table if loading else _REGISTERED
    _require_free(new, _BUILT_IN, table)
    table[name] = new
    return network


def _require_class(name: str, what: str, given: Any, kinds: tuple[type, ...]) -> None:
    if not (isinstance(given, type) and issubclass(given, kinds)):
        expected = " or ".join(k.__name__ for k in kinds)
        wrong = f"its {what} must be a subclass of {expected}, got {given!r:.80}"
        raise ArchitectureError(f"architecture {name!r}: {wrong}")


def _require_free(new: Architecture, *tables: Mapping[str, Architecture]) -> None:
    """Raise ArchitectureError if another class has the name; a class may be defined again, as
    notebooks do.
    """
    for known in (table[new.name] for table in tables if new.name in table):
        if known.origin.kind == "built_in" or _path(known) != _path(new):
            both = " and ".join(f"{a.network.__qualname__} of {a.origin}" for a in (known, new))
            named = f"two architectures are named {new.name!r}: {both}"
            raise ArchitectureError(f"{named}; give one another name")


def _path(a: Architecture) -> tuple[str, str]:
    return a.network.__module__, a.network.__qualname__


@contextmanager
def _loading(origin: ArchitectureOrigin, what: str) -> Iterator[dict[str, Architecture]]:
    """Collect what is registered inside; ArchitectureError tells of ``what`` if it raises."""
    table: dict[str, Architecture] = {}
    token = _LOADING.set(_Loading(origin, table))
    try:
        yield table
    except ArchitectureError as error:
        raise ArchitectureError(f"{what}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ArchitectureError(f"{what}: {told(error)}") from error
    finally:
        _LOADING.reset(token)


def load_built_in() -> None:
    """Import the modules of climlink's own architectures, which register like any other's."""
    origin = ArchitectureOrigin(kind="built_in", where="climlink.architectures")
    with _loading(origin, "climlink's own architectures cannot be loaded") as table:
        for name in _BUILT_IN_MODULES:
            import_module(f"climlink.architectures.{name}")
    _BUILT_IN.update(table)


def find(name: str, file: str | Path | None = None) -> Architecture:
    """Return an architecture: of a file, built in, registered, or of an installed project, which
    is loaded only then.

    ArchitectureError for an unknown name (with the near ones), a name that two projects give, and
    what cannot be loaded.
    """
    if file is not None:
        return _of_file(name, Path(file))
    known = _BUILT_IN.get(name) or _REGISTERED.get(name)
    return known or _of_plug_in(name)


def known_names() -> list[str]:
    """Return every name that ``find`` may know without a file; nothing is loaded."""
    return list(dict.fromkeys([*_BUILT_IN, *_REGISTERED, *_plug_ins()]))


def every_architecture() -> tuple[list[Architecture], dict[str, str]]:
    """Return all architectures that can be used without a file, and for each project's that
    cannot, by name, why.
    """
    found, problems = list(_BUILT_IN.values()), {}
    for name in (n for n in known_names() if n not in _BUILT_IN):
        try:
            found.append(find(name))
        except ArchitectureError as error:
            problems[name] = str(error)
    for name in (n for n in _plug_ins() if n in _BUILT_IN):
        places = " and ".join(map(_place, _plug_ins()[name]))
        both = f"climlink's own, which is used, and that of {places}"
        problems[name] = f"two architectures are named {name!r}: {both}"
    return found, problems


def _plug_ins() -> dict[str, list[metadata.EntryPoint]]:
    """Return the entry points of installed projects by the name of their architecture."""
    offers: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        offers.setdefault(point.name, []).append(point)
    return offers


def _place(point: metadata.EntryPoint) -> str:
    project = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown project"
    return f"{project} ({point.value})"


def _of_plug_in(name: str) -> Architecture:
    offers = _plug_ins().get(name, [])
    if not offers:
        known = known_names()
        unknown = (
            f"unknown architecture {name!r}{near_names(name, known)}; known: {', '.join(known)}"
        )
        how = "`file: NETWORKS.py` beside its name, or an installed project"
        raise ArchitectureError(
            f"{unknown}; one of your own needs {how} (docs/add-an-architecture.md)"
        )
    places = " and ".join(map(_place, offers))
    if len(offers) > 1:
        named = f"two architectures are named {name!r}, of {places}"
        raise ArchitectureError(f"{named}; uninstall one of these projects")
    origin = ArchitectureOrigin(kind="plug_in", where=places)
    with _loading(origin, f"architecture {name!r} of plug-in {places} cannot be loaded") as table:
        offers[0].load()
        for new in table.values():
            _require_free(new, _REGISTERED)
    _REGISTERED.update(table)
    if name not in _REGISTERED:
        others = ", ".join(a.name for a in _REGISTERED.values() if a.origin == origin)
        lacking = f"registered no architecture {name!r} (but {others or 'nothing'})"
        call = f"climlink.register_architecture({name!r}, ...)"
        raise ArchitectureError(
            f"plug-in {places} was loaded and {lacking}: its module must call {call}"
        )
    return _REGISTERED[name]


def _of_file(name: str, file: Path) -> Architecture:
    try:
        content = file.read_bytes()
    except OSError as error:
        what = f"{file}: the file of architecture {name!r}"
        raise ArchitectureError(f"{what} cannot be read: {error.strerror}") from error
    where, digest = str(file.absolute()), hashlib.sha256(content).hexdigest()
    if (where, digest) not in _FILES:
        origin = ArchitectureOrigin(kind="file", where=where, sha256=digest)
        with _loading(origin, f"{file} cannot be loaded") as table:
            _run(content, where, f"climlink_architectures_{len(_FILES)}")
        _FILES[where, digest] = table
    table = _FILES[where, digest]
    if name not in table:
        near, known = near_names(name, table), ", ".join(table) or "nothing"
        raise ArchitectureError(
            f"{file} registers no architecture {name!r}{near}; it registers {known}"
        )
    return table[name]


def _run(content: bytes, path: str, name: str) -> None:
    """Run a file as a module; an import would leave compiled files beside it, or take another
    module of its name.
    """
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # where TorchScript looks classes up
    try:
        exec(compile(content, path, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
