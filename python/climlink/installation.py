"""Where this installation keeps its programs, libraries and CMake files."""

from __future__ import annotations

from pathlib import Path

from climlink.wrappers.errors import ClimlinkError


class InstallationError(ClimlinkError):
    """A compiled part of climlink is not installed."""


def _native_root() -> Path:
    """Return the folder that holds lib, bin and include; in an editable install it is not the source folder."""
    try:
        from climlink import _runtime
    except ImportError as error:
        raise InstallationError(f"climlink's compiled parts are not installed ({error}); in a source tree run `make setup`") from error
    return Path(_runtime.__file__).parent


def executable(name: str) -> Path:
    """Return the path of an installed program; InstallationError if it was not built."""
    path = _native_root() / "bin" / name
    if not path.is_file():
        raise InstallationError(
            f"{name} is not installed in {path.parent}: climlink was built without it; in a source tree run `make setup`"
        )
    return path


def cmake_prefix() -> Path:
    """Return the prefix to give to CMake: ``cmake -DCMAKE_PREFIX_PATH=$(climlink cmake-prefix)``."""
    return _native_root()


def shared_folder(name: str) -> Path:
    """Return a folder of files that are copied, not linked, by its path below share/climlink; InstallationError if it is not there."""
    here = Path(__file__).resolve().parents[2]
    # An editable install keeps them in the source tree.
    for folder in (_native_root() / "share" / "climlink" / name, here / "fortran_bridge" / name):
        if folder.is_dir():
            return folder
    raise InstallationError(
        f"this climlink was installed without its {name} sources (share/climlink/{name}); in a source tree run `make setup`"
    )


def configuration(name: str) -> Path:
    """Return a shipped configuration file by its path below sim_configs/; InstallationError if it is not there."""
    here = Path(__file__).resolve().parent
    # In a wheel the folder lies in the package; in an editable install it stays at the root of the source tree.
    for root in (here / "sim_configs", here.parents[1] / "sim_configs"):
        if (root / name).is_file():
            return root / name
    raise InstallationError(f"no configuration {name!r} in sim_configs/ of this installation")
