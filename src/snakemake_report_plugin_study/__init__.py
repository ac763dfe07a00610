"""Snakemake's report plugin for `--reporter study`: the page of `vlm4vla.report.pages.study_report`.

Snakemake finds it by its name. `make report` uses it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_report_plugins.reporter import ReporterBase
from snakemake_interface_report_plugins.settings import ReportSettingsBase


@dataclass
class ReportSettings(ReportSettingsBase):
    """The options of the plugin."""

    path: Optional[Path] = field(  # noqa: UP045 (Snakemake reads the type, and takes no other form)
        default=None,
        metadata={"help": "The HTML file of the report. Default: report.html in the study's results folder."},
    )


class Reporter(ReporterBase):
    """Writes the report, and prints its path on standard output."""

    def render(self) -> None:
        # Snakemake imports all plugins at each start, also where no report is written.
        from vlm4vla.core.errors import UserError
        from vlm4vla.workflow.report_page import write_report

        try:
            path, size = write_report(self)
        except UserError as error:
            raise WorkflowError(str(error)) from None
        print(f"Report ({size / 1e6:.1f} MB), open it in a browser:\n{path}", flush=True)
