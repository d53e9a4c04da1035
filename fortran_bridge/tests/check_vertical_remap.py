"""The vertical remap on the grids of E3SM: check_vertical_remap.py PROGRAM LEVELS_FOLDER.

The program remaps random columns between 60, 72, 80 and 128 levels. The same is worked out here in
exact rational arithmetic and in another way: differences of the column's cumulative sum, whose
slopes come from the parabola through three layers. Exit code 1 and what is wrong.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

COLUMNS = 3
TIME_STEP_S = 1200.0
CONSERVED = 1e-13  # of the sum of |value| dp: some hundred roundings of 1.1e-16
CLOSE = 1e-13  # of the largest value: an interface rounded apart moves a thin layer by 1e-14


class Grid(NamedTuple):
    """Hybrid coefficients at interfaces, top down."""

    hyai: np.ndarray
    hybi: np.ndarray

    def interfaces(self, surface_pressure: np.ndarray) -> np.ndarray:
        """Pressures [column, interface] in Pa."""
        return 1e5 * self.hyai + self.hybi * surface_pressure[:, None]

    def with_levels(self, n: int) -> Grid:
        """The coefficients at n + 1 evenly spaced positions in this list of levels."""
        here, there = np.linspace(0, 1, self.hyai.size), np.linspace(0, 1, n + 1)
        return Grid(np.interp(there, here, self.hyai), np.interp(there, here, self.hybi))


class Answers(NamedTuple):
    """What the program made of one file, [column, level]; the last two [column]."""

    package: np.ndarray
    host: np.ndarray
    kept: np.ndarray
    moved: np.ndarray
    unfilled: np.ndarray


class Profile:
    """A column that is linear within each layer, exactly."""

    def __init__(self, edges: np.ndarray, values: np.ndarray) -> None:
        self.edges, self.values = [Fraction(e) for e in edges], [Fraction(v) for v in values]
        layers = [(b - a) * v for (a, b), v in zip(pairwise(self.edges), self.values, strict=True)]
        self.sums = [Fraction(0), *accumulate(layers)]
        inside = [self._rise(k) for k in range(1, len(values) - 1)]
        self.rises = [Fraction(0), *inside, Fraction(0)]

    def _rise(self, k: int) -> Fraction:
        """Rise in layer k of the parabola with the means of layers k-1, k, k+1, then limited."""
        x, y = self.edges[k - 1 : k + 3], self.sums[k - 1 : k + 3]
        first = [(d - c) / (b - a) for (a, b), (c, d) in zip(pairwise(x), pairwise(y), strict=True)]
        second = [(first[i + 1] - first[i]) / (x[i + 2] - x[i]) for i in (0, 1)]
        third = (second[1] - second[0]) / (x[3] - x[0])

        def density(p: Fraction) -> Fraction:
            a, b, c = p - x[0], p - x[1], p - x[2]
            return first[0] + second[0] * (a + b) + third * (a * b + a * c + b * c)

        rise = density(x[2]) - density(x[1])
        steps = [b - a for a, b in pairwise(self.values[k - 1 : k + 2])]
        if steps[0] * steps[1] <= 0:
            return Fraction(0)
        size = min(abs(rise), 2 * abs(steps[0]), 2 * abs(steps[1]))
        return size if steps[0] > 0 else -size

    def sum_above(self, pressure: Fraction) -> Fraction:
        """Sum of value dp from the top to a pressure; negative above, where the top extends."""
        if pressure <= self.edges[0]:
            return self.values[0] * (pressure - self.edges[0])
        k = max(i for i in range(len(self.values)) if self.edges[i] < pressure)
        thickness = self.edges[k + 1] - self.edges[k]
        x = (pressure - self.edges[k]) / thickness
        part = self.values[k] * x + self.rises[k] * (x * x - x) / 2
        return self.sums[k] + part * thickness


def to_package(host: np.ndarray, values: np.ndarray, package: np.ndarray) -> list[float]:
    """Means over the package's layers."""
    profile, targets = Profile(host, values), [Fraction(p) for p in package]
    return [
        float((profile.sum_above(b) - profile.sum_above(a)) / (b - a)) for a, b in pairwise(targets)
    ]


def to_host(package: np.ndarray, tendency: np.ndarray, host: np.ndarray) -> list[float]:
    """Means over the host's layers of what lies below the package's top, all of it."""
    profile, targets = Profile(package, tendency), [Fraction(p) for p in host]
    sums = [profile.sum_above(max(p, profile.edges[0])) for p in targets]
    sums[0] = Fraction(0)
    layers = zip(pairwise(targets), pairwise(sums), strict=True)
    return [float((d - c) / (b - a)) for (a, b), (c, d) in layers]


def total(values: np.ndarray, edges: np.ndarray) -> float:
    """Sum of value dp of one column."""
    return math.fsum(v * d for v, d in zip(values, np.diff(edges), strict=True))


def run(program: str, folder: Path, host: Grid, package: Grid, seed: int) -> list[str]:
    """Remap random columns and return what is wrong with the answers."""
    rng = np.random.default_rng(seed)
    surface = rng.uniform(5.5e4, 1.04e5, COLUMNS)
    outside, inside = host.interfaces(surface), package.interfaces(surface)
    n_host, n_package = outside.shape[1] - 1, inside.shape[1] - 1
    values = 250 + 40 * rng.standard_normal((COLUMNS, n_host))
    # Moist and dry layers beside each other; tendencies that dry some of the package's layers.
    q = 10.0 ** rng.uniform(-8, -2, (COLUMNS, n_host))
    q_package = [to_package(*c) for c in zip(outside, q, inside, strict=True)]
    drying = rng.uniform(-1, 0.5, (COLUMNS, n_package)).round()
    tendency = drying * np.array(q_package) / TIME_STEP_S
    with (folder / "columns.raw").open("wb") as stream:
        np.array([COLUMNS, n_host, n_package], dtype=np.int32).tofile(stream)
        numbers = [np.array(1e5), *package, np.array(TIME_STEP_S), outside, values, q, tendency]
        for array in numbers:
            array.ravel(order="F").tofile(stream)
    names = [str(folder / name) for name in ("columns.raw", "answers.raw")]
    subprocess.run([program, *names], check=True)
    flat = np.fromfile(folder / "answers.raw")
    shapes = [(COLUMNS, n) for n in (n_package, n_host, n_host)] + [(COLUMNS,)] * 2
    ends = np.cumsum([math.prod(s) for s in shapes])
    parts = zip(np.split(flat, ends[:-1]), shapes, strict=True)
    got = Answers(*(part.reshape(shape, order="F") for part, shape in parts))
    wrong: list[str] = []
    for i in range(COLUMNS):
        column = Answers(*(a[i] for a in got))
        wrong += check_values(column, outside[i], values[i], inside[i], tendency[i])
        wrong += check_sums(column, outside[i], values[i], inside[i], tendency[i])
        wrong += check_water(column, outside[i], q[i], tendency[i])
    if not got.moved.max() > 0:
        wrong.append("no column had to borrow: the check shows nothing")
    return wrong


def check_values(
    got: Answers, host: np.ndarray, values: np.ndarray, package: np.ndarray, tendency: np.ndarray
) -> list[str]:
    """Every layer against exact arithmetic, and no new extremes."""
    wrong = []
    for what, answer, exact in (
        ("to_package", got.package, to_package(host, values, package)),
        ("to_host", got.host, to_host(package, tendency, host)),
    ):
        error = np.abs(answer - exact).max()
        if not error <= CLOSE * np.abs(exact).max():
            wrong.append(f"{what}: other values than exact arithmetic, by {error:g}")
    if got.package.min() < values.min() or got.package.max() > values.max():
        wrong.append("to_package: a new extreme")
    # The host's top layer takes all above it, and layers above the package's top have none.
    low, high = min(tendency.min(), 0.0), max(tendency.max(), 0.0)
    if got.host[1:].min() < low or got.host[1:].max() > high:
        wrong.append("to_host: a new extreme")
    return wrong


def check_sums(
    got: Answers, host: np.ndarray, values: np.ndarray, package: np.ndarray, tendency: np.ndarray
) -> list[str]:
    """Sums over the column that both grids share."""
    wrong = []
    # Below the package's top, with the host's top value extended where the package is higher.
    above = float(Profile(host, values).sum_above(Fraction(package[0])))
    expected, scale = total(values, host) - above, total(np.abs(values), host)
    if not abs(total(got.package, package) - expected) <= CONSERVED * scale:
        wrong.append(f"to_package: sum off by {total(got.package, package) / expected - 1:g}")
    expected, scale = total(tendency, package), total(np.abs(tendency), package)
    for what, answer in (("to_host", got.host), ("keep_positive", got.kept)):
        if not abs(total(answer, host) - expected) <= CONSERVED * scale:
            wrong.append(f"{what}: sum off by {(total(answer, host) - expected) / scale:g}")
    return wrong


def check_water(got: Answers, host: np.ndarray, q: np.ndarray, tendency: np.ndarray) -> list[str]:
    """No layer dries out, what was moved is what layers fell short by, the rest is as it was."""
    wrong = []
    short = total(np.maximum(-(q + TIME_STEP_S * got.host), 0), host)
    if (q + TIME_STEP_S * got.kept).min() < 0 or got.unfilled > 0:
        wrong.append("keep_positive: negative water is left")
    if not abs(got.moved - short) <= CONSERVED * total(q, host):
        wrong.append(f"keep_positive: moved {got.moved:g}, expected {short:g}")
    if not short and (got.kept != got.host).any():
        wrong.append("keep_positive: changed a column that needs nothing")
    return wrong


def read_levels(path: Path) -> Grid:
    """A file of sim_configs/levels."""
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Grid(np.array(file["hyai"]), np.array(file["hybi"]))


def main(program: str, levels: str) -> str | None:
    """Compare and return what is wrong, if anything."""
    l60, l72 = (read_levels(Path(levels) / f"{n}.yaml") for n in ("climsim60", "e3sm_l72"))
    l80, l128 = l72.with_levels(80), l72.with_levels(128)
    # The package's top lies above the host's in the first three, below it in the last two.
    pairs = [(l72, l60), (l80, l60), (l128, l60), (l60, l72), (l60, l128)]
    wrong = []
    with tempfile.TemporaryDirectory(prefix="climlink-remap-") as name:
        for seed, (host, package) in enumerate(pairs):
            title = f"{host.hyai.size - 1} to {package.hyai.size - 1} levels"
            problems = run(program, Path(name), host, package, seed)
            wrong += [f"{title}: {problem}" for problem in problems]
    return "\n".join(wrong) or None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
