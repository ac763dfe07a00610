"""Snakemake's logger plugin for `--logger study`. Its lines come from `vlm4vla.workflow.run_log`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from logging import WARNING, LogRecord
from pathlib import Path
from types import TracebackType

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from vlm4vla.workflow.config_layers import refuse_faulty_layers
from vlm4vla.workflow.run_log import INTERRUPTED, RunLog

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], None]


def one_line_for_ctrl_c(otherwise: Hook) -> Hook:
    """A `sys.excepthook` that prints one line for Ctrl-C. Snakemake has no handler before the first job."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(INTERRUPTED, file=sys.stderr, flush=True)
        else:
            otherwise(kind, error, trace)

    return hook


# Plugins are imported before Snakemake reads its arguments.
if "snakemake" in (Path(sys.argv[0]).name, Path(sys.argv[0]).parent.name):
    refuse_faulty_layers(sys.argv[1:], Path.cwd())
    sys.excepthook = one_line_for_ctrl_c(sys.excepthook)

# Snakemake prints this message for Ctrl-C and for SIGTERM. It then stops the jobs.
STOPPING = "Terminating processes on user request"
# Messages that are not printed: for the first, the line of JOB_ERROR is. Results that were copied have no
# metadata of Snakemake, and the report would print the second for each file.
HIDDEN = ("RuleException", "Missing metadata for file")
# Messages without an event that are printed, by their beginning.
SHOWN = ("Nothing to be done", "Complete log", "Exiting because")


class LogHandler(LogHandlerBase):
    """Prints the lines of RunLog, warnings and errors on standard error.

    Snakemake's own log file has all messages.
    """

    def __post_init__(self) -> None:
        self.run = RunLog()
        self._stopped = False

    def emit(self, record: LogRecord) -> None:
        line = self.line(record)
        if line:
            print(line, file=sys.stderr, flush=True)

    def line(self, record: LogRecord) -> str | None:
        """The line for a log record of Snakemake; None if nothing is printed."""
        if self._stopped:  # failures of the jobs that are stopped, and Snakemake's last words
            return None
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
        if text.startswith(STOPPING):
            self._stopped = True
            return INTERRUPTED
        if text.startswith(HIDDEN):
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
