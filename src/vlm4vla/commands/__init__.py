"""Sub-commands that are not stages: they write tables and the report, or work with finished results.

Each command imports its heavy modules when it runs.
"""

from vlm4vla.commands.datasets import DATASETS
from vlm4vla.commands.models import MODELS
from vlm4vla.commands.planning import PLANNING
from vlm4vla.commands.results import RESULTS
from vlm4vla.commands.workflow import WORKFLOW

COMMANDS = {**WORKFLOW, **RESULTS, **DATASETS, **PLANNING, **MODELS}
