"""What the tests of `climlink e3sm check` do to a generated case, and say of its findings."""

from __future__ import annotations

import re
from pathlib import Path

from climlink.e3sm.check import check_case
from climlink.wrappers.manifest import ImportedEntry

IMPORTED = ImportedEntry(
    file="old.pt",
    sha256="0" * 64,
    parameter_count=1,
    golden_source="synthetic",
    input_copied=False,
    host_postprocessing="legacy",
    findings=[],
)
"""What a manifest says of a wrapper that was made for the old coupling."""


def edit(folder: Path, old: str, new: str) -> None:
    """Replace text in the case's user_nl_eam; it must be there."""
    path = folder / "user_nl_eam"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_env_run(folder: Path, **values: object) -> None:
    """Write an env_run.xml with these entries."""
    entries = "".join(f'<entry id="{name}" value="{value}"/>' for name, value in values.items())
    (folder / "env_run.xml").write_text(f"<file><group>{entries}</group></file>")


def require_only(folder: Path, subject: str, problem: str) -> None:
    """Assert that there is exactly one finding, about ``subject``, and that it says what to do."""
    findings = check_case(folder).findings
    assert [f.subject for f in findings] == [subject], findings
    assert re.search(problem, findings[0].problem), findings[0]
    assert findings[0].remedy
