#!/usr/bin/env python3
"""Make create_backend of an E3SM checkout know the backend "libtorch": add_backend.py E3SM_ROOT.

Puts a few lines after or before named lines of three or four files of components/emulators, each
insertion marked. A file in which such a line is missing or stands twice is refused, and then
nothing is written. Exit code 0, or 1 with the reason on the error unit.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

FRAMEWORK = Path("components/emulators/common/src")
MARK = "climlink inserted this"


class RefusedError(Exception):
    """The checkout is not one that these insertions were made for."""


@dataclass(frozen=True)
class Insertion:
    """Lines to put beside the one line that reads as ``anchor``; comments and white space do not
    matter.
    """

    anchor: str
    text: str
    before: bool = False


ENUMERATOR = Insertion("STUB,", "  LIBTORCH, // a climlink package (TorchScript with a manifest)")
CONFIGURATION = (
    Insertion("#include <string>", "#include <map>"),
    Insertion(
        "bool verbose = false;",
        "  std::string model_path; // file of the network\n  std::map<std::string, std::string> "
        "options; // of one kind of backend",
    ),
)
FACTORY = (
    Insertion(
        '#include "create_inference_backend.hpp"',
        '#ifdef EMULATOR_ENABLE_CLIMLINK\n#include "climlink_inference_backend.hpp"\n#else\n'
        "#include <stdexcept>\n#endif",
    ),
    Insertion(
        "case BackendType::STUB:",
        "  case BackendType::LIBTORCH:\n"
        "#ifdef EMULATOR_ENABLE_CLIMLINK\n"
        "    return climlink_e3sm::backend_from(config);\n"
        "#else\n"
        '    throw std::runtime_error("inference backend libtorch: this E3SM was built without it; '
        'configure with "\n'
        '                             "-DEMULATOR_ENABLE_CLIMLINK=ON");\n'
        "#endif",
        before=True,
    ),
)
BUILD = """
option(EMULATOR_ENABLE_CLIMLINK "Build the inference backend libtorch (needs climlink)" OFF)
if(EMULATOR_ENABLE_CLIMLINK)
  find_package(climlink 0.1 REQUIRED)
  include("${climlink_DIR}/emulators/climlinkEmulators.cmake")
  climlink_add_emulators_backend(emulator_common)
endif()"""


def plain(line: str) -> str:
    """Return the line without comment and with single blanks."""
    return " ".join(line.split("//")[0].split())


def marked(text: str, comment: str) -> str:
    """Return the text between two lines that say whose it is."""
    return f"{comment} {MARK}: begin\n{text}\n{comment} {MARK}: end\n"


def insert(source: str, insertions: tuple[Insertion, ...], origin: Path) -> str:
    """Return ``source`` with all insertions; RefusedError unless every anchor is there once."""
    lines = source.splitlines(keepends=True)
    for insertion in insertions:
        found = [n for n, line in enumerate(lines) if plain(line) == insertion.anchor]
        if len(found) != 1:
            raise RefusedError(
                f"{origin}: expected the line {insertion.anchor!r} once, found it {len(found)} "
                "times"
            )
        lines.insert(found[0] + (not insertion.before), marked(insertion.text, "//"))
    return "".join(lines)


def read(root: Path, name: str) -> str:
    """Return a file of the framework."""
    try:
        return (root / FRAMEWORK / name).read_text(encoding="utf-8")
    except OSError as error:
        raise RefusedError(
            f"{root / FRAMEWORK / name}: {error.strerror}; expected an E3SM checkout with "
            "components/emulators"
        ) from error


def configuration_file(root: Path) -> str:
    """Return the header that declares InferenceConfig, which has been a file of its own at
    times.
    """
    names = ("inference/inference_backend.hpp", "inference/inference_config.hpp")
    found = [
        n
        for n in names
        if (root / FRAMEWORK / n).is_file()
        and re.search(r"^struct InferenceConfig\b", read(root, n), re.MULTILINE)
    ]
    if len(found) != 1:
        raise RefusedError(
            f"{root / FRAMEWORK}: expected struct InferenceConfig in one of {', '.join(names)}, "
            f"found it in {len(found)}"
        )
    return found[0]


def changed_files(root: Path) -> dict[Path, str]:
    """Return the new text of every file that changes."""
    header = "inference/inference_backend.hpp"
    wanted = {header: (ENUMERATOR,), "inference/create_inference_backend.cpp": FACTORY}
    config = configuration_file(root)
    wanted[config] = (*wanted.get(config, ()), *CONFIGURATION)
    build = "CMakeLists.txt"
    sources = {name: read(root, name) for name in (*wanted, build)}
    for name, source in sources.items():
        if MARK in source:
            raise RefusedError(
                f"{root / FRAMEWORK / name}: already has insertions of climlink; give a checkout "
                "as E3SM has it"
            )
    if re.search(r"\bLIBTORCH\b", sources[header]):
        raise RefusedError(
            f"{root / FRAMEWORK / header}: this E3SM has a backend type LIBTORCH of its own; "
            "construct ClimlinkBackend instead"
        )
    if len(re.findall(r"^add_library\(emulator_common\b", sources[build], re.MULTILINE)) != 1:
        raise RefusedError(
            f"{root / FRAMEWORK / build}: expected add_library(emulator_common ...) once"
        )
    result = {
        root / FRAMEWORK / name: insert(sources[name], insertions, root / FRAMEWORK / name)
        for name, insertions in wanted.items()
    }
    result[root / FRAMEWORK / build] = (
        sources[build].rstrip("\n") + "\n\n" + marked(BUILD.strip(), "#")
    )
    return result


def main() -> int:
    """Apply the insertions to the checkout named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("e3sm_root", type=Path, help="an E3SM checkout, as E3SM has it")
    try:
        files = changed_files(parser.parse_args().e3sm_root)
    except RefusedError as error:
        sys.stderr.write(
            f"add_backend.py: {error}. Nothing was changed; docs/e3sm-emulators.md shows the lines "
            "to put in by hand\n"
        )
        return 1
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
