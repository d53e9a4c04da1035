"""Where this installation keeps its programs, libraries and CMake files."""

from __future__ import annotations

from pathlib import Path

from climlink.config import ConfigError
from climlink.wrappers.errors import ClimlinkError, near_names

_WORDS = {
    "cases": "case",
    "comparisons": "comparison",
    "ensembles": "ensemble",
    "heal": "healing",
    "machines": "machine",
    "recipes": "recipe",
    "splits": "split",
    "training": "training configuration",
}


class InstallationError(ClimlinkError):
    """A compiled part of climlink is not installed."""


class NotBuiltError(InstallationError):
    """climlink was built without this part, such as Fortran where there is no Fortran compiler."""


def _native_root() -> Path:
    """Return the folder that holds lib, bin and include; in an editable install it is not the
    source folder.
    """
    try:
        from climlink import _runtime
    except ImportError as error:
        raise InstallationError(
            f"climlink's compiled parts are not installed ({error}); in a source tree run `make "
            "setup`"
        ) from error
    return Path(_runtime.__file__).parent


def executable(name: str) -> Path:
    """Return the path of an installed program; NotBuiltError if climlink was built without it."""
    path = _native_root() / "bin" / name
    if not path.is_file():
        raise NotBuiltError(
            f"{name} is not installed in {path.parent}: climlink was built without it (programs in "
            "Fortran need a Fortran compiler and MPI then); in a source tree run `make setup`"
        )
    return path


def cmake_prefix() -> Path:
    """Return the prefix to give to CMake: ``cmake -DCMAKE_PREFIX_PATH=$(climlink
    cmake-prefix)``.
    """
    return _native_root()


def shared_folder(name: str) -> Path:
    """Return a folder of files that are copied, not linked, by its path below share/climlink;
    InstallationError if it is not there.
    """
    here = Path(__file__).resolve().parents[2]
    # An editable install keeps them in the source tree.
    for folder in (_native_root() / "share" / "climlink" / name, here / "fortran_bridge" / name):
        if folder.is_dir():
            return folder
    raise InstallationError(
        f"this climlink was installed without its {name} sources (share/climlink/{name}); in a "
        "source tree run `make setup`"
    )


def configuration(name: str) -> Path:
    """Return a shipped configuration by its path below sim_configs/; InstallationError if it is not
    there.
    """
    path = _configurations_root() / name
    if not path.is_file():
        raise InstallationError(f"no configuration {name!r} in sim_configs/ of this installation")
    return path


def configurations(kind: str) -> dict[str, Path]:
    """Return the shipped configurations of one kind (training, cases, splits, ...) by name."""
    return {path.stem: path for path in sorted((_configurations_root() / kind).glob("*.yaml"))}


def configuration_kinds() -> list[str]:
    """Return the kinds of shipped configurations: the folders of sim_configs/."""
    return sorted(path.name for path in _configurations_root().iterdir() if path.is_dir())


def find_configuration(kind: str, given: str | Path, base: Path | None = None) -> Path:
    """Return the file of a configuration given by its path, relative to ``base``, or by the name of
    a shipped one.

    Raises ConfigError for a name that is not shipped, and for a path without a file that ends like
    a shipped one.
    """
    path = (base or Path()) / given
    if path.is_file():
        return path
    shipped = configurations(kind)
    if str(given) in shipped:
        return shipped[str(given)]
    if path.stem in shipped:
        raise ConfigError(f"{path}: no such file; {path.stem} is shipped: give its name alone")
    if path.suffix in (".yaml", ".yml") or path.parent != (base or Path()):
        return path  # the reader says what is wrong with it
    raise ConfigError(
        f"no {_WORDS.get(kind, kind)} {str(given)!r}; shipped: {', '.join(shipped)}; for another "
        f"give the path of its YAML file{near_names(str(given), shipped)}"
    )


def configuration_base(path: Path) -> Path:
    """Return what paths inside a configuration are relative to: its folder, for a shipped one where
    the command runs.
    """
    folder = path.resolve().parent
    return Path.cwd() if folder.is_relative_to(_configurations_root()) else folder


def _configurations_root() -> Path:
    here = Path(__file__).resolve().parent
    # In a wheel the folder lies in the package; in an editable install it stays at the root of the
    # source tree.
    for root in (here / "sim_configs", here.parents[1] / "sim_configs"):
        if root.is_dir():
            return root
    raise InstallationError(
        "this climlink was installed without its sim_configs/; install it again"
    )
