"""The layout of a study's results folder. Each kind of artefact has one record, and the record has its path.

The rules take outputs, logs and benchmark files from these records. So do the path methods of the study, the
checks of targets, the plan of jobs, and the commands that read a finished study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

PROVENANCE = "provenance.json"
EPISODES = "episodes.parquet"
SHARDS = "shards"  # folder with the parts of a rollout on a simulator
EXECUTED = "-executed"  # in the path of a rollout, before a number of executed steps
LOGS, BENCHMARKS = "logs", "benchmarks"
# Regular expressions of the wildcards whose values are not names from the configuration
WILDCARDS = {"seed": "[0-9]+", "executed": f"({EXECUTED}[0-9]+)?", "shard": "[0-9]+"}
_WILDCARD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Artefact:
    """One kind of artefact.

    `name`: the name that the rules use. `pattern`: the path below the results folder, with Snakemake's
    wildcards in braces. `formats`: the values of the wildcard `format`, the preferred format first.
    `job_pattern`: the path of the job below `logs/` and `benchmarks/`, without a suffix; by default `stem`.
    """

    name: str
    pattern: str
    formats: tuple[str, ...] = ()
    job_pattern: str = ""

    @property
    def folder(self) -> str:
        """The first part of the path: the folder of all artefacts of this kind, or a file's own name."""
        return self.stem.partition("/")[0]

    @property
    def stem(self) -> str:
        """The pattern of the artefact's folder, or of its single file without the suffix."""
        folder, _, file = self.pattern.rpartition("/")
        return folder if file in (PROVENANCE, EPISODES) else self.pattern.rpartition(".")[0]

    @property
    def job(self) -> str:
        return self.job_pattern or self.stem

    @property
    def log(self) -> str:
        return f"{LOGS}/{self.job}.log"

    @property
    def benchmark(self) -> str:
        return f"{BENCHMARKS}/{self.job}.tsv"

    @property
    def glob(self) -> str:
        """The pattern for `Path.glob`."""
        return re.sub(r"\*+", "*", _WILDCARD.sub("*", self.pattern))

    def path(self, **wildcards: object) -> str:
        """The path below the results folder. Raises KeyError for a wildcard without a value."""
        return self.pattern.format_map(wildcards)

    def paths(self, **wildcards: object) -> list[str]:
        """The path of each format, in the order of `formats`."""
        return [self.path(**wildcards, format=each) for each in self.formats]

    def with_values(self, name: str, **wildcards: object) -> Artefact:
        """A new artefact whose pattern has values, or other wildcards, for some wildcards of this pattern."""
        return replace(
            self,
            name=name,
            pattern=fill(self.pattern, wildcards),
            job_pattern=fill(self.job, wildcards),
        )

    def parse(self, path: str) -> dict[str, str] | None:
        """The wildcard values of a path below the results folder; None for a path of another kind."""
        found = self._regex.fullmatch(path)
        return found.groupdict() if found else None

    def parse_beginning(self, path: str) -> dict[str, str]:
        """The wildcard values in the leading parts of a path that fit, for messages about wrong paths.

        The last part may lack the suffix that the pattern has.
        """
        values: dict[str, str] = {}
        for pattern, part in zip(self.pattern.split("/"), path.split("/"), strict=False):
            found = self._compile(pattern).fullmatch(part)
            found = found or self._compile(pattern.rpartition(".")[0] or pattern).fullmatch(part)
            if found is None:
                break
            values |= found.groupdict()
        return values

    def completed(self, path: str) -> str | None:
        """The whole path for a path that lacks the file's name or its suffix; None for any other path."""
        found = self._compile(self.stem).fullmatch(path)
        return self.path(**found.groupdict(), format="".join(self.formats[:1])) if found else None

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return self._compile(self.pattern)

    def _compile(self, pattern: str) -> re.Pattern[str]:
        known = WILDCARDS | {"format": "|".join(self.formats)}
        parts = _WILDCARD.split(pattern)  # text and wildcards alternate
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [f"(?P<{name}>{known.get(name, '[^/]+')})" for name in parts[1::2]]
        return re.compile("".join(parts))


def fill(pattern: str, values: Mapping[str, object]) -> str:
    """`pattern` with values for some of its wildcards; the other wildcards stay."""
    return _WILDCARD.sub(lambda found: str(values.get(found[1], found[0])), pattern)


_CELL = "{vlm}/{auxiliary}/{variant}/{benchmark}"
_RUN = f"{_CELL}/seed{{seed}}"
_ROLLOUTS = f"rollouts/{_RUN}{{executed}}"
_AUXILIARY_DATA = Artefact("auxiliary_data", f"auxiliary_data/{{task}}/{PROVENANCE}")
_ROLLOUT = Artefact("rollout", f"{_ROLLOUTS}/{EPISODES}")

# Every kind of artefact by its name. Where two patterns fit a path, the first one counts.
ARTEFACTS = {
    artefact.name: artefact
    for artefact in (
        Artefact("questions", f"questions/{PROVENANCE}"),
        Artefact("backbone", f"backbones/{{vlm}}/{PROVENANCE}"),
        _AUXILIARY_DATA,
        _AUXILIARY_DATA.with_values("fast_data", task="fast"),
        Artefact("auxiliary", f"auxiliary/{{vlm}}/{{task}}/{PROVENANCE}"),
        Artefact("capability", "capability/{vlm}/{auxiliary}.json"),
        Artefact("demonstrations", f"demonstrations/{{benchmark}}/{PROVENANCE}"),
        Artefact("vla", f"vla/{_RUN}/{PROVENANCE}"),
        _ROLLOUT,
        # Of random actions or of the scripted expert: no backbone, so none of the other wildcards varies
        _ROLLOUT.with_values(
            "reference", vlm="{policy}", auxiliary="none", variant="full", seed=0, executed=""
        ),
        # A part of a rollout on a simulator
        Artefact("shard", f"{_ROLLOUTS}/{SHARDS}/{{shard}}/{EPISODES}", (), f"{_ROLLOUTS}/{{shard}}"),
        Artefact("cell", f"cells/{_CELL}.{{format}}", ("md", "csv", "tex")),
        Artefact("table", "tables/{table}.{format}", ("csv", "md", "tex", "html")),
        Artefact("figure", "figures/{figure}.{format}", ("pdf", "png")),
        Artefact("analysis", "analysis/{table}.json"),
        Artefact("caption", "analysis/{table}.rst"),
        Artefact("films", "films/{benchmark}.html", (), "report/films"),
        Artefact("summary", "summary.{format}", ("md", "rst"), "report/summary"),
        Artefact("study_config", "config.{format}", ("yaml", "html"), "report/study_config"),
        Artefact("published", "tables/{table}.{format}", ("csv", "md", "tex"), "published"),
    )
}

# The folders of the artefacts that other artefacts have as inputs
INPUT_FOLDERS = tuple(
    ARTEFACTS[name].folder
    for name in (
        "questions",
        "backbone",
        "auxiliary",
        "auxiliary_data",
        "capability",
        "demonstrations",
        "vla",
        "rollout",
    )
)


def run_of(path: Path) -> dict[str, str | int]:
    """The columns of episode records that the path of a rollout's file states; none for another path."""
    depth = ARTEFACTS["rollout"].pattern.count("/") + 1
    found = ARTEFACTS["rollout"].parse("/".join(path.parts[-depth:]))
    if found is None:
        return {}
    return {
        "model": found["vlm"],
        "auxiliary": found["auxiliary"],
        "variant": found["variant"],
        "benchmark": found["benchmark"],
        "seed": int(found["seed"]),
    }


class ResultsLayout:
    """The paths of the artefacts in one results folder, such as `results/embedded`."""

    def __init__(self, root: Path | str):
        self.root = str(root)

    def path(self, name: str, **wildcards: object) -> str:
        """The path of an artefact. Raises KeyError for a wildcard without a value."""
        return f"{self.root}/{ARTEFACTS[name].path(**wildcards)}"

    def output(self, name: str, **wildcards: object) -> str:
        """The pattern of a rule's output; wildcards without a value stay for Snakemake."""
        return f"{self.root}/{fill(ARTEFACTS[name].pattern, wildcards)}"

    def log(self, name: str, **wildcards: object) -> str:
        """The pattern of a rule's log."""
        return f"{self.root}/{fill(ARTEFACTS[name].log, wildcards)}"

    def benchmark(self, name: str, **wildcards: object) -> str:
        """The pattern of a rule's benchmark file."""
        return f"{self.root}/{fill(ARTEFACTS[name].benchmark, wildcards)}"

    def job_of(self, path: str) -> str | None:
        """The job that made `path`, as its path below `logs/` and `benchmarks/` without a suffix.

        None for a path that no rule makes.
        """
        found = self.parse(path)
        return fill(found[0].job, found[1]) if found else None

    def parse(self, path: str) -> tuple[Artefact, dict[str, str]] | None:
        """The kind of the artefact at `path` and the values of its wildcards; None where there is no kind."""
        inside = path.removeprefix(f"{self.root}/")
        if inside == path:
            return None
        for artefact in ARTEFACTS.values():
            values = artefact.parse(inside)
            if values is not None:
                return artefact, values
        return None
