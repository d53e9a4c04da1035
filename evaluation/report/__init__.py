"""Reports: one self-contained HTML file, and the numbers beside it."""

from climlink.evaluation.report.document import Exclusion, Picture, Report, Section, Table
from climlink.evaluation.report.write import write_report

__all__ = ["Exclusion", "Picture", "Report", "Section", "Table", "write_report"]
