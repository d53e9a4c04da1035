"""Reports: everything inside one file, the numbers beside it, names that cannot clash."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.image import imread

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion, Picture, Report, Section, Table, write_report


def picture(name: str = "line") -> Picture:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return Picture(name, figure, "a line <down>")


def report(**changes: object) -> Report:
    table = Table(
        "scores",
        "Scores",
        {"output": ["ptend_t", "PRECC"], "RMSE": [0.1 + 0.2, None], "n": [3, 4]},
        {"RMSE": "K/s"},
    )
    values: dict[str, object] = {
        "title": "A package & its run",
        "words": "It held for 3 days.",
        "sections": [Section("Lines", "They fall.", [picture()], [table])],
        "summary": {"kind": "test", "metrics": {"rmse.T": 0.5, "r2.T": None}},
        "numbers": xr.Dataset({"rmse": ("day", np.array([0.1, 0.2]), {"units": "K"})}),
        "command": "climlink evaluate test <RUN>",
        "sources": {"reference": "runs/truth"},
        "excluded": [Exclusion("month 0001-03", "the file is truncated")],
    }
    return Report(**{**values, **changes})  # type: ignore[arg-type]


class Page(HTMLParser):
    """Collects what a page points at and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = write_report(report(), tmp_path).read_text()
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert not re.search(r"https?://|url\(|<script", text)
    assert "viewport" in text
    for words in (
        "It held for 3 days.",
        "month 0001-03",
        "the file is truncated",
        "climlink evaluate test <RUN>",
        "RMSE (K/s)",
        "0.3",
        "–",
    ):
        assert words in page.said


def test_numbers_stand_beside_it_with_all_their_digits(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    rows = list(csv.reader((tmp_path / "tables" / "scores.csv").open()))
    assert rows == [
        ["output", "RMSE (K/s)", "n"],
        ["ptend_t", repr(0.1 + 0.2), "3"],
        ["PRECC", "", "4"],
    ]
    assert json.loads((tmp_path / "summary.json").read_text())["metrics"] == {
        "rmse.T": 0.5,
        "r2.T": None,
    }
    with xr.open_dataset(tmp_path / "numbers.nc") as numbers:
        np.testing.assert_array_equal(numbers["rmse"], [0.1, 0.2])
        assert numbers["rmse"].attrs["units"] == "K"
    assert imread(tmp_path / "figures" / "line.png").ndim == 3


def test_text_of_figures_is_never_shown_smaller_than_nine_pixels(tmp_path: Path) -> None:
    wide = Figure(figsize=(11.0, 3.0))
    hidden, axes = wide.subplots(1, 2)
    axes.plot([0, 1])
    axes.tick_params(labelsize=8)
    hidden.set_visible(False)
    hidden.set_title("not seen", fontsize=2)
    made = report(sections=[Section("Wide", pictures=[Picture("wide", wide, "two panels")])])
    page = write_report(made, tmp_path).read_text(encoding="utf-8")
    # 8 points are 8/72 inches of 11: 9 pixels high where all is 9 * 72 / 8 * 11 pixels wide.
    assert "min-width: 891px" in page


def test_a_second_report_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    write_report(report(sections=[Section("Other", pictures=[picture("other")])]), tmp_path)
    names = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert names == ["numbers.nc", "other.png", "report.html", "summary.json"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"distinct file names.*line"):
        report(sections=[Section("A", pictures=[picture()]), Section("B", pictures=[picture()])])
    with pytest.raises(EvaluationError, match=r"distinct file names.*\.\./x"):
        report(sections=[Section("A", pictures=[picture("../x")])])
    with pytest.raises(EvaluationError, match="unequal length"):
        Table("t", "T", {"a": [1], "b": [1, 2]})
    with pytest.raises(EvaluationError, match="units of columns that it has not"):
        Table("t", "T", {"a": [1]}, {"b": "K"})
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        write_report(report(summary={"x": float("nan")}), tmp_path)
