"""What the library and the host programs let a user set. Names, types, defaults and ranges are
those that ``climlink.runtime.options()`` and ``PROGRAM --list-settings`` publish: nothing here
repeats one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from climlink.config import ConfigError, StrictModel, misfit
from climlink.installation import executable
from climlink.mpi import LaunchError, failure_text, mpi_environment
from climlink.online.launch import NamelistValue, namelist_text
from climlink.packages.constraint_switches import check_constraints_off
from climlink.packages.read import EmulatorPackage
from climlink.runtime import EmulatorError, check_options, options
from climlink.wrappers.errors import near_names

Groups = Mapping[str, Mapping[str, NamelistValue]]
"""A namelist: entries by group and name."""


class Setting(NamedTuple):
    """An entry of a program's namelist: its type (text, integer, real, logical), its default as
    Fortran writes it, and what the program says of it, if anything.
    """

    kind: str
    default: str
    help: str


@cache
def published_settings(program: str) -> dict[str, dict[str, Setting]]:
    """Return what a program declares, by group and name.

    Raises NotBuiltError if climlink was built without it, LaunchError if it does not start.
    """
    # One rank without a launcher: an MPI program may start alone.
    command = [str(executable(program)), "--list-settings"]
    environment = mpi_environment(1)
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=environment
    )
    if done.returncode != 0:
        raise LaunchError(failure_text(command, done.returncode, done.stderr))
    groups: dict[str, dict[str, Setting]] = {}
    group = name = ""
    for line in done.stdout.splitlines():
        if line.startswith("! "):
            groups[group][name] = groups[group][name]._replace(help=line[2:])
        else:
            group, name, kind, default = line.split(maxsplit=3)
            groups.setdefault(group, {})[name] = Setting(kind, default, "")
    return groups


def check_namelist(program: str, groups: Groups) -> None:
    """Raise ConfigError for an entry that the program does not declare, or declares with another
    type.
    """
    published = published_settings(program)
    for group, entries in groups.items():
        known = published.get(group, {})
        for name, value in entries.items():
            if name not in known:
                raise ConfigError(
                    f"{program} has no entry {name!r} in &{group}{near_names(name, known)}; it has "
                    f"{', '.join(known)}"
                )
            if not _fits(value, known[name].kind):
                raise ConfigError(
                    f"{program} takes a {known[name].kind} value for {name} in &{group}, got "
                    f"{value!r}"
                )


def check_values(program: str, groups: Groups) -> None:
    """Raise ConfigError for values that the program would refuse before it opens a package, with
    its own words; LaunchError if it does not start.
    """
    with TemporaryDirectory() as folder:
        (Path(folder) / "settings").write_text(namelist_text(groups), encoding="utf-8")
        command = [str(executable(program)), "--check-settings=settings"]
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=mpi_environment(1),
            cwd=folder,
        )
    _, refused, reason = done.stderr.partition(f"{program}: settings: ")
    if refused:
        raise ConfigError(reason.strip())
    if done.returncode != 0:
        raise LaunchError(failure_text(command, done.returncode, done.stderr))


def _fits(value: NamelistValue, kind: str) -> bool:
    if isinstance(value, list | tuple):
        return all(_fits(v, kind.replace("names", "text")) for v in value)
    if isinstance(value, bool):
        return kind == "logical"
    if isinstance(value, str):
        return kind == "text"
    return kind == "real" or (kind == "integer" and isinstance(value, int))


class PackageOptions(StrictModel):
    """A part of a case that names a package. Its keys, beside its own, are options of the library;
    one that is not given has the library's default.
    """

    model_config = ConfigDict(extra="allow")

    package: Path = Field(description="the wrap_model.pt to run")

    @model_validator(mode="after")
    def _options_fit(self) -> PackageOptions:
        published = {o["name"]: o for o in options() if o["set_by"] == "user"}
        problems = []
        for name, value in self.given().items():
            if name not in published:
                problems += [((name,), text) for text in self._not_an_option(name, published)]
            elif not _fits(value, published[name]["type"]):
                kind = published[name]["type"].replace("names", "list of names")
                problems.append(((name,), f"expected a {kind} value, got {value!r}"))
            else:
                try:
                    check_options(**{name: value})
                except EmulatorError as error:
                    problems.append(((name,), str(error)))
        if problems:
            raise misfit(problems)
        return self

    def _not_an_option(self, name: str, published: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with a key that is no option."""
        known = [*type(self).model_fields, *published]
        return [f"unknown key{near_names(name, known)}; known keys: {', '.join(sorted(known))}"]

    def given(self) -> dict[str, Any]:
        """Return the options that the case gives; lists as tuples, empty ones are not given."""
        extra = (self.model_extra or {}).items()
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in extra}
        return {name: value for name, value in values.items() if value not in (None, ())}

    def option(self, name: str) -> Any:
        """Return the value of an option of the library, given or its default."""
        default = next(o["default"] for o in options() if o["name"] == name)
        return self.given().get(name, default)

    def read_package(self) -> EmulatorPackage:
        """Return the package, held against ``pinned_sha256`` and ``constraints_off``.

        Raises PackageError/ManifestError for a bad package, another one, or one that cannot leave
        out a constraint.
        """
        package = EmulatorPackage.read(self.package, self.option("pinned_sha256") or None)
        check_constraints_off(package, self.option("constraints_off"))
        return package

    def namelist_group(self, package: EmulatorPackage) -> dict[str, NamelistValue]:
        """Return the entries of &emulator."""
        of_package = {"package": str(self.package.resolve()), "package_name": package.manifest.name}
        given = self.given()
        for name in ("compiled", "tuning"):  # the program runs in the run's folder
            if given.get(name):
                given[name] = str(Path(given[name]).resolve())
        return {**of_package, **given, "pinned_sha256": package.digest}
