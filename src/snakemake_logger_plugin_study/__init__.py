"""Snakemake's logger plugin for `--logger study`. Its lines come from `vlm4vla.workflow.run_log`."""

from __future__ import annotations

import sys
from logging import WARNING, LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from vlm4vla.workflow.config_layers import refuse_faulty_layers
from vlm4vla.workflow.run_log import RunLog

# Plugins are imported before Snakemake reads its arguments.
if "snakemake" in (Path(sys.argv[0]).name, Path(sys.argv[0]).parent.name):
    refuse_faulty_layers(sys.argv[1:], Path.cwd())

# Messages without an event that are printed, by their beginning.
SHOWN = ("Nothing to be done", "Complete log", "Exiting because")


class LogHandler(LogHandlerBase):
    """Prints the lines of RunLog, warnings and errors on standard error.

    Snakemake's own log file has all messages.
    """

    def __post_init__(self) -> None:
        self.run = RunLog()

    def emit(self, record: LogRecord) -> None:
        line = self.line(record)
        if line:
            print(line, file=sys.stderr, flush=True)

    def line(self, record: LogRecord) -> str | None:
        """The line for a log record of Snakemake; None if nothing is printed."""
        fields = record.__dict__
        match fields.get("event"):
            case LogEvent.RUN_INFO:
                return self.run.planned(fields["stats"])
            case LogEvent.JOB_INFO:
                message = fields["rule_msg"] or fields["rule_name"]
                return self.run.started(fields["jobid"], fields["rule_name"], message)
            case LogEvent.JOB_FINISHED:
                return self.run.finished(fields["job_id"])
            case LogEvent.JOB_ERROR:
                return self.run.failed(fields["jobid"], next(iter(fields["log"] or ()), None))
        text = record.getMessage()
        if text.startswith("RuleException"):  # the line of JOB_ERROR is printed instead
            return None
        if record.levelno >= WARNING or text.startswith(SHOWN):
            return text
        return None

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False
