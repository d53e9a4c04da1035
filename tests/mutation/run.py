"""Change the sources, one change at a time, and see that a test notices: run.py [WORD ...].

catalogue.yaml names the changes; WORDs choose those whose file, test or meaning holds one of them.
Everything happens in a copy under build/mutation, which keeps its objects, so that a change costs
the compilation of one file. The exit code is 1 where a change survives, does not compile or no
longer has its text. ``--sweep FILE --test TEST`` tries operators on every line instead and lists
what survives, to be judged by a reader: some changes change nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900  # of one build or test; an endless loop is a change that was noticed

SITE = '''\
"""Takes the editable installation's finder away: climlink is the folder beside this file."""
import sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
'''


class CatalogueError(Exception):
    """The catalogue does not fit the sources, or a test fails without any change."""


@dataclass(frozen=True, eq=False)
class Test:
    """A pytest node, or a regular expression of ctest and what to build for it."""

    name: str
    pytest: str = ""
    ctest: str = ""
    targets: Sequence[str] = ()


@dataclass(frozen=True)
class Mutation:
    """One change of one file; ``old`` occurs in it exactly once."""

    what: str
    file: str
    old: str
    new: str
    test: Test

    def holds(self, words: Sequence[str]) -> bool:
        """Say whether file, test or meaning holds one of the words; yes where there are none."""
        return not words or any(w in f"{self.file} {self.test.name} {self.what}" for w in words)

    def apply(self, text: str) -> str:
        """Return the changed text; CatalogueError unless the old text occurs exactly once."""
        if (count := text.count(self.old)) != 1:
            found = f"{self.old!r} occurs {count} times, expected once"
            raise CatalogueError(f"{self.file}: {found} ({self.what})")
        return text.replace(self.old, self.new)


def read_catalogue(path: Path) -> list[Mutation]:
    """Return the mutations of a catalogue; CatalogueError for a test that it does not define."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    tests = {name: Test(name, **entry) for name, entry in raw["tests"].items()}
    mutations = []
    for file, changes_of in raw["mutations"].items():
        if unknown := changes_of.keys() - tests.keys():
            known = sorted(tests)
            raise CatalogueError(f"{path.name}: no test {sorted(unknown)}; there are {known}")
        for test, changes in changes_of.items():
            mutations += [Mutation(file=file, test=tests[test], **change) for change in changes]
    return mutations


class Scratch:
    """A copy of the tracked sources with a build of its own."""

    def __init__(self, root: Path, folder: Path) -> None:
        """Bring the copy up to date; files that did not change keep time and objects."""
        self.tree, self.build, self.site = folder / "tree", folder / "build", folder / "site"
        list_files = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"]
        listed = subprocess.run(list_files, capture_output=True, text=True, check=True).stdout
        names = {n for n in listed.splitlines() if (root / n).is_file()}
        for old in [p for p in self.tree.rglob("*") if p.is_file()]:
            if str(old.relative_to(self.tree)) not in names:
                old.unlink()
        for name in names:
            target, content = self.tree / name, (root / name).read_bytes()
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                target.chmod((root / name).stat().st_mode)
        self.environment = dict(os.environ)
        self.environment |= {"PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment.setdefault("CLIMLINK_CLIMSIM_DIR", str(root.parent / "shared" / "climsim"))
        self._link_package()

    def _link_package(self) -> None:
        """Make the copy importable as climlink, with the compiled module of the checkout."""
        package = self.site / "climlink"
        package.mkdir(parents=True, exist_ok=True)
        (self.site / "sitecustomize.py").write_text(SITE)
        installed = Path(sys.prefix).glob("lib/python*/site-packages/climlink/*")
        parts = {p.name: p for p in installed if p.suffix != ".py"}
        parts |= {p.name: p for p in (self.tree / "python" / "climlink").glob("*")}
        parts |= {n: self.tree / n for n in ("wrappers", "evaluation", "sim_configs")}
        for name, source in parts.items():
            (package / name).unlink(missing_ok=True)
            (package / name).symlink_to(source)

    def compile(self, targets: Sequence[str]) -> bool:
        """Build targets; say whether they compile."""
        if not targets:
            return True
        if not (self.build / "build.ninja").is_file():
            # Most of the time goes into torch's headers; C++ is not optimized on top.
            options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O0"]
            options += [
                "-DCLIMLINK_TESTS=ON",
                "-G",
                "Ninja",
                f"-DPython_EXECUTABLE={sys.executable}",
            ]
            if self._run(["cmake", "-S", str(self.tree), "-B", str(self.build), *options]):
                raise CatalogueError(f"the copy cannot be configured: see {self.build}")
        return self._run(["cmake", "--build", str(self.build), "--target", *targets]) == 0

    def passes(self, test: Test, fixtures: bool = False) -> bool:
        """Run a test, if asked after making the files it needs; say whether it passes."""
        if test.pytest:
            pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
            return self._run([*pytest, test.pytest]) == 0
        ctest = ["ctest", "--test-dir", str(self.build), "--no-tests=error", "-R", test.ctest]
        return self._run([*ctest, *([] if fixtures else ["-FA", ".*"])]) == 0

    def _run(self, command: list[str]) -> int:
        try:
            done = subprocess.run(
                command,
                cwd=self.tree,
                env=self.environment,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124
        (self.site / "last.log").write_bytes(done.stdout + done.stderr)
        return done.returncode

    def require(self, test: Test) -> None:
        """Build and run a test on the sources as they are; CatalogueError if it fails there."""
        if not self.compile(test.targets) or not self.passes(test, fixtures=True):
            log = self.site / "last.log"
            raise CatalogueError(f"{test.name} fails without any change: see {log}")

    def verdict(self, mutation: Mutation) -> str:
        """Make one change, run its test, take the change back; return what happened."""
        path = self.tree / mutation.file
        text = path.read_text(encoding="utf-8")
        path.write_text(mutation.apply(text), encoding="utf-8")
        try:
            if not self.compile(mutation.test.targets):
                return "DOES NOT COMPILE"
            return "SURVIVED" if self.passes(mutation.test) else "noticed"
        finally:
            path.write_text(text, encoding="utf-8")


COMPARISONS = {" <= ": " < ", " >= ": " > ", " < ": " > ", " > ": " < "}
OPERATORS = [
    (r"(?<![\w.])\d+\.\d+(?:[eE][-+]?\d+)?", lambda number: repr(1.25 * float(number) or 1.0)),
    (r" <= | >= | < | > ", COMPARISONS.__getitem__),
    (r"(?<=[\w)\]]) [-+] (?=[\w(])", lambda sign: " - " if sign == " + " else " + "),
    (r"\b(?:min|max)(?=\()", lambda word: "max" if word == "min" else "min"),
]
COMMENTS = {".F90": "!", ".cpp": "//", ".hpp": "//", ".py": "#"}


def sweep(text: str, file: str, test: Test) -> Iterator[Mutation]:
    """Yield what the operators make of every line: numbers, comparisons, signs, min and max."""
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        code = line.split(COMMENTS[Path(file).suffix])[0]
        for pattern, change in OPERATORS:
            for found in re.finditer(pattern, code):
                new = line[: found.start()] + change(found.group()) + line[found.end() :]
                before, after = "".join(lines[:at]), "".join(lines[at + 1 :])
                what = f"line {at + 1}: {new.strip()}"
                yield Mutation(what, file, text, before + new + after, test)


def judge(scratch: Scratch, mutations: list[Mutation]) -> int:
    """Try all mutations, print a line for each and the count; return how many were not noticed."""
    missed = 0
    for test in dict.fromkeys(m.test for m in mutations):
        scratch.require(test)
    for mutation in mutations:
        try:
            verdict = scratch.verdict(mutation)
        except CatalogueError as error:
            verdict = f"OUT OF DATE: {error}"
        missed += verdict != "noticed"
        print(f"{verdict:9} {mutation.file}: {mutation.what} ({mutation.test.name})", flush=True)
    print(f"{len(mutations) - missed} of {len(mutations)} noticed")
    return missed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("words", nargs="*", help="try only what holds one of these words")
    parser.add_argument("--root", type=Path, default=ROOT, help="the sources")
    catalogue = Path(__file__).with_name("catalogue.yaml")
    parser.add_argument("--catalogue", type=Path, default=catalogue, help="the changes")
    parser.add_argument("--sweep", metavar="FILE", help="try operators on every line of this file")
    parser.add_argument("--test", help="with --sweep: the test of the catalogue that should notice")
    chosen = parser.parse_args(arguments)
    try:
        mutations = read_catalogue(chosen.catalogue)
        if chosen.sweep:
            test = next((m.test for m in mutations if m.test.name == chosen.test), None)
            if test is None:
                raise CatalogueError(f"--sweep needs a test of the catalogue, not {chosen.test!r}")
            text = (chosen.root / chosen.sweep).read_text(encoding="utf-8")
            mutations = list(sweep(text, chosen.sweep, test))
        wanted = [m for m in mutations if m.holds(chosen.words)]
        return int(judge(Scratch(chosen.root, chosen.root / "build" / "mutation"), wanted) > 0)
    except CatalogueError as error:
        print(f"mutation: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
