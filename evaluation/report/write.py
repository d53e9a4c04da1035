"""A report on disk: report.html with everything inside, and figures, tables (CSV), numbers.nc and
summary.json beside it.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from importlib import resources
from pathlib import Path

import xarray as xr
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.text import Text

from climlink.data.files import make_folder, replacing
from climlink.evaluation.report.document import Cell, Report, Table
from climlink.evaluation.summary import SUMMARY_FILE, write_json
from climlink.provenance import climlink_version, git_revision

REPORT_FILE = "report.html"
NUMBERS_FILE = "numbers.nc"
_DPI = 180
_READABLE_PX = 9.0
"""Height in CSS pixels below which text is no longer read on a phone."""


def write_report(report: Report, folder: Path) -> Path:
    """Write a report and what belongs to it into a folder, and return the path of the HTML file.
    Figures and tables of an older report in the folder are removed."""
    make_folder(folder)
    figures = {p.name: p.figure for s in report.sections for p in s.pictures}
    pictures = {name: _png(figure) for name, figure in figures.items()}
    tables = {t.name: _csv(t) for s in report.sections for t in s.tables}
    _fill(folder / "figures", {f"{name}.png": data for name, data in pictures.items()})
    _fill(folder / "tables", {f"{name}.csv": text.encode() for name, text in tables.items()})
    write_numbers(report.numbers, folder / NUMBERS_FILE)
    write_json(dict(report.summary), folder / SUMMARY_FILE)
    page = folder / REPORT_FILE
    with replacing(page) as beside:
        text = _html(report, pictures, {n: readable_width(f) for n, f in figures.items()})
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return page


def write_numbers(numbers: xr.Dataset, path: Path) -> None:
    """Write a dataset as netCDF-4, beside and then under its name."""
    with replacing(path) as beside:
        numbers.to_netcdf(beside, engine="netcdf4", format="NETCDF4")


def shown(cell: Cell) -> str:
    """Return a cell as people read it: four significant digits, a dash for what cannot be told."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return str(cell)


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    make_folder(folder)
    for old in folder.iterdir():
        if old.suffix in (".png", ".csv") and old.name not in files:
            old.unlink()
    for name, data in files.items():
        with replacing(folder / name) as beside:
            beside.write_bytes(data)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.header())
    writer.writerows(
        [
            ["" if c is None else repr(c) if isinstance(c, float) else c for c in row]
            for row in table.rows()
        ]
    )
    return buffer.getvalue()


def readable_width(figure: Figure) -> int:
    """Return the width in CSS pixels at which the smallest text of a drawn figure is 9 pixels high.
    The page shows it no narrower: on a phone a wider figure is scrolled.
    """
    texts = [
        float(text.get_fontsize())
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and (text.axes is None or text.axes.get_visible())
    ]
    smallest_in = min(texts, default=math.inf) / 72.0
    return round(_READABLE_PX / smallest_in * figure.get_size_inches()[0])


def _html(report: Report, pictures: dict[str, bytes], widths: dict[str, int]) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = shown
    template = (
        resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    images = {
        name: f"data:image/png;base64,{base64.b64encode(data).decode()}"
        for name, data in pictures.items()
    }
    made = f"climlink {climlink_version()}, revision {git_revision() or 'unknown'}"
    return environment.from_string(template).render(
        report=report, images=images, widths=widths, made=made
    )
