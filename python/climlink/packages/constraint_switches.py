"""Constraints switched off for one run: is that possible with this package? The Runtime decides
again when it opens the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from climlink.packages.read import EmulatorPackage, PackageError
from climlink.wrappers.constraints import InputClip, RangeRelaxation
from climlink.wrappers.errors import near_names
from climlink.wrappers.manifest import Manifest


def check_constraints_off(package: EmulatorPackage, names: Sequence[str]) -> None:
    """Raise PackageError unless every name is a constraint of the manifest, stands once, and can be
    switched off in the graph.

    The graph is deserialized only where there are names.
    """
    if not names:
        return
    where = f"{package.path}: constraints_off"
    if package.manifest.constraints is None:
        raise PackageError(
            f"{where}: an imported graph has no switches; use a package made by `climlink export`, "
            "or leave the list empty"
        )
    known = [c.name for c in package.manifest.constraints]
    for name, count in Counter(names).items():
        if name not in known:
            raise PackageError(
                f"{where}: no constraint {name!r}{near_names(name, known)}; the package has "
                f"{', '.join(known) or 'none'}"
            )
        if count > 1:
            raise PackageError(f"{where}: {name!r} stands {count} times; name it once")
    _check_switches(package, names, where)


def has_range_policy(manifest: Manifest, constraints_off: Sequence[str]) -> bool:
    """Return whether a constraint of the range policy is in the package and not switched off."""
    on = {c.name for c in manifest.constraints or ()} - set(constraints_off)
    return not on.isdisjoint({InputClip.name, RangeRelaxation.name})


def _check_switches(package: EmulatorPackage, names: Sequence[str], where: str) -> None:
    sequence = package.load().constraints
    rules = dict(zip(sequence.names, sequence.rules.children(), strict=True))
    for name in names:
        rule = rules[name]
        if not hasattr(rule, "enabled"):
            raise PackageError(
                f"{where}: the graph has no switch for {name!r}: an older climlink exported it; "
                "export it again"
            )
        if rule.makes:
            raise PackageError(
                f"{where}: {name!r} cannot be switched off: {rule.makes} would not exist without it"
            )
