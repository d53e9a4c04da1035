"""Mutates a package and opens every mutant in a child process, in the Runtime and in Python.

usage: python tests/package_fuzz.py PACKAGE [--count 150] [--seed 1] [--seconds 60]

A mutant may be refused (a ClimlinkError or EmulatorError) or open. A signal, another exception,
more than ``--seconds`` for one mutant, a peak of memory more than 256 MiB above that of the good
package, or a manifest that only the Runtime refuses is a failure. Prints one JSON object; exit code
1 if anything failed. Mutant i of a seed is always the same: ``--first i --count 1`` repeats it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import selectors
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MEMORY_MIB = 256
HEADERS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07")
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    1e308,
    -0.0,
    "",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": {}},
    "1",
)

Entries = dict[str, bytes]


class Package(NamedTuple):
    """A package as one text of bytes and as entries by name."""

    raw: bytes
    entries: Entries


def read(path: Path) -> Package:
    """Return the package at ``path``."""
    with zipfile.ZipFile(path) as archive:
        return Package(path.read_bytes(), {n: archive.read(n) for n in archive.namelist()})


def zipped(
    entries: Entries, compression: int = zipfile.ZIP_STORED, twice: str | None = None
) -> bytes:
    """Return a zip of entries with right CRCs; ``twice`` names one that it holds again, empty."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, raw in entries.items():
            archive.writestr(name, raw)
        if twice is not None:
            archive.writestr(twice, b"")
    return buffer.getvalue()


def flip(rng: random.Random, raw: bytes) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, raw: bytes) -> bytes:
    """Truncate, remove, double or insert a part."""
    a, b = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
    part = raw[a : min(b, a + 4096)]
    noise = rng.randbytes(rng.randint(1, 64))
    return rng.choice(
        (
            raw[:a],
            raw[:a] + raw[b:],
            raw[:a] + part * rng.randint(2, 50) + raw[b:],
            raw[:a] + noise + raw[a:],
        )
    )


def number(rng: random.Random, raw: bytes) -> bytes:
    """Overwrite 1, 2, 4 or 8 bytes with a number at the edge of something."""
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(max(1, len(raw) - size))
    return raw[:at] + struct.pack("<Q", rng.choice(NUMBERS))[:size] + raw[at + size :]


def header(rng: random.Random, package: Package) -> bytes:
    """Change one field of a zip header."""
    raw, places = package.raw, []
    for signature in HEADERS:
        at = raw.find(signature)
        while at >= 0:
            places.append(at)
            at = raw.find(signature, at + 4)
    at = rng.choice(places)
    return (
        raw[:at] + (number if rng.random() < 0.7 else flip)(rng, raw[at : at + 46]) + raw[at + 46 :]
    )


def _changed(
    rng: random.Random,
    package: Package,
    suffixes: tuple[str, ...],
    change: Callable[[bytes], bytes],
) -> bytes:
    name = rng.choice([n for n in package.entries if n.endswith(suffixes)])
    return zipped({**package.entries, name: change(package.entries[name])})


def entry(rng: random.Random, package: Package) -> bytes:
    """Change an entry's contents, with the CRC that fits them."""
    return _changed(rng, package, ("",), lambda raw: rng.choice((flip, cut, number))(rng, raw))


def pickle(rng: random.Random, package: Package) -> bytes:
    """Change the pickles, which say what libtorch allocates."""
    return _changed(rng, package, (".pkl",), lambda raw: rng.choice((flip, cut, number))(rng, raw))


def code(rng: random.Random, package: Package) -> bytes:
    """Change the graph's source text."""

    def change(raw: bytes) -> bytes:
        lines = raw.split(b"\n")
        at = rng.randrange(len(lines))
        nested = rng.choice((b"(", b"[", b"-", b"not ", b".T")) * rng.choice((3, 300, 30_000))
        lines[at] = rng.choice(
            (b"", lines[at] * 2, lines[at] + nested, b" " * 40 + lines[at], rng.choice(lines))
        )
        text = b"\n".join(lines)
        words = (
            (b"torch.add", b"torch.save"),
            (b"torch.", b"ops.aten."),
            (b"forward", b"__setstate__"),
            (b"Tensor", b"Any"),
        )
        return text.replace(*rng.choice(words)) if rng.random() < 0.3 else text

    return _changed(rng, package, (".py",), change)


def manifest(rng: random.Random, package: Package) -> bytes:
    """Replace, remove or add values in the manifest; or nest, repeat and deflate them."""

    def change(raw: bytes) -> bytes:
        if rng.random() < 0.2:
            opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
            depth = rng.choice((60, 100, 100_000))
            return (opening * depth + "1" + closing * depth).encode()
        document = json.loads(raw)
        where: Any = document
        while True:
            key = rng.choice(list(where) if isinstance(where, dict) else range(len(where)))
            if not isinstance(where[key], dict | list) or not where[key] or rng.random() < 0.3:
                break
            where = where[key]
        if rng.random() < 0.2:
            del where[key]
        else:
            where[key] = rng.choice(VALUES)
        return json.dumps(document).encode()

    return _changed(rng, package, ("/climlink/manifest.json",), change)


def rearranged(rng: random.Random, package: Package) -> bytes:
    """Swap, drop, rename, double or inflate entries."""
    entries, names = dict(package.entries), list(package.entries)
    a, b = rng.sample(names, 2)
    act = rng.randrange(6)
    if act == 0:
        entries[a], entries[b] = entries[b], entries[a]
    elif act == 1:
        del entries[a]
    elif act == 2:
        entries[rng.choice((a.upper(), "../" + a, "/" + a, a + "\0x", a.replace("/", "\\")))] = (
            entries.pop(a)
        )
    elif act == 3:
        return zipped(entries, twice=rng.choice((a, a.upper())))
    elif act == 4:
        entries[a] = bytes(rng.choice((1 << 20, 80 << 20)))
        return zipped(entries, zipfile.ZIP_DEFLATED)
    else:
        rng.shuffle(names)
        entries = {n: entries[n] for n in names}
    return zipped(entries)


KINDS: dict[str, Callable[[random.Random, Package], bytes]] = {
    "flip": lambda rng, package: flip(rng, package.raw),
    "cut": lambda rng, package: cut(rng, package.raw),
    "header": header,
    "entry": entry,
    "pickle": pickle,
    "code": code,
    "manifest": manifest,
    "rearranged": rearranged,
}


def mutant(package: Package, seed: int, index: int) -> tuple[str, bytes]:
    """Return kind and bytes of one mutant."""
    kind = list(KINDS)[index % len(KINDS)]
    return kind, KINDS[kind](random.Random(f"{seed}/{index}"), package)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _outcome(path: Path) -> str:
    from climlink.packages.read import EmulatorPackage
    from climlink.runtime import Emulator, EmulatorError
    from climlink.wrappers.errors import ClimlinkError

    outcomes = []
    for opening in (lambda: Emulator(path), lambda: EmulatorPackage.read(path).load()):
        try:
            opening()
            outcomes.append("opened")
        except (ClimlinkError, EmulatorError) as error:
            outcomes.append(getattr(error, "status", "refused"))
        except Exception as error:  # whatever else it is, it is the finding
            outcomes.append(f"FAILED {type(error).__name__}: {error}"[:300])
    if outcomes == ["schema", "opened"]:
        return (
            "FAILED: Python takes a manifest that the Runtime, which looks at less of it, refuses"
        )
    return " / ".join(outcomes)


def _say(line: str) -> None:
    sys.stdout.write(line.replace("\n", " ") + "\n")
    sys.stdout.flush()


def child(path: Path, seed: int, first: int, count: int) -> None:
    """Open the good package, then the mutants, with a line before and after each."""
    package = read(path)
    with tempfile.TemporaryDirectory(prefix="climlink-fuzz-") as folder:
        target = Path(folder, "mutant.pt")
        target.write_bytes(package.raw)
        good = _outcome(target)
        if good != "opened / opened":
            raise SystemExit(f"{path}: the package itself does not open: {good}")
        mutant(package, seed, 4)  # makes, as many kinds do, one more copy of the package
        allowed = _peak_mib() + MEMORY_MIB
        for index in range(first, first + count):
            kind, raw = mutant(package, seed, index)
            target.write_bytes(raw)
            _say(f"{index} {kind}")
            outcome = _outcome(target)
            if _peak_mib() > allowed:
                outcome = (
                    f"FAILED memory: {_peak_mib() - allowed + MEMORY_MIB:.0f} MiB above the good "
                    "package's"
                )
                allowed = _peak_mib()
            _say(outcome)
        _say(f"peak {_peak_mib():.0f}")


class Run(NamedTuple):
    """What became of the mutants: outcomes, failures, largest memory of a child [MiB]."""

    outcomes: Counter[str]
    failures: list[str]
    peak_mib: float


def fuzz(path: Path, count: int, seed: int, seconds: float, first: int = 0) -> Run:
    """Open ``count`` mutants of a package, each within ``seconds``.

    A child that dies is replaced by one that goes on behind the mutant that killed it.
    """
    outcomes: Counter[str] = Counter()
    failures, peak, last = [], 0.0, first + count
    while first < last:
        command = [
            sys.executable,
            __file__,
            str(path),
            "--child",
            "--seed",
            str(seed),
            "--first",
            str(first),
            "--count",
            str(last - first),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ) as process:
            assert process.stdout is not None
            lines, hung = _lines(process, seconds)
        if lines and lines[-1].startswith("peak "):
            peak = max(peak, float(lines.pop().split()[1]))
        for named, outcome in zip(lines[::2], lines[1::2], strict=False):
            outcomes[outcome.split(":")[0]] += 1
            if "FAILED" in outcome:
                failures.append(f"{named}: {outcome}")
        done = len(lines) // 2
        if len(lines) % 2:
            failures.append(
                f"{lines[-1]}: "
                f"{f'no end within {seconds:g} s' if hung else f'exit code {process.returncode}'}"
            )
        elif done < last - first:
            failures.append(
                f"the child ended with exit code {process.returncode} after {done} mutants"
            )
            break
        first += done + len(lines) % 2
    return Run(outcomes, failures, peak)


def _lines(process: subprocess.Popen[bytes], seconds: float) -> tuple[list[str], bool]:
    """Return the lines a child wrote, and whether it was killed: no line for ``seconds``.

    The first may take thrice as long.
    """
    written = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(seconds if written else 3 * seconds):
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                return written.decode().splitlines(), False
            written += part
    process.kill()
    return written.decode().splitlines(), True


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.package, given.seed, given.first, given.count)
        return
    run = fuzz(given.package, given.count, given.seed, given.seconds, given.first)
    sys.stdout.write(
        json.dumps(
            {"outcomes": run.outcomes, "failures": run.failures, "peak_mib": run.peak_mib}, indent=1
        )
        + "\n"
    )
    sys.exit(1 if run.failures else 0)


if __name__ == "__main__":
    main()
