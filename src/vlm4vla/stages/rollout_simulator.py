"""The `rollout` stage on a real simulator: shards of episodes, each with a policy server of its own.

With `settings.shard` one shard is played; without, all that are not there yet, and then they are joined. What
was played is kept: a job that was killed, or whose server died, goes on with the episodes that are missing.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from vlm4vla.config.simulators import OtherPolicy, Simulator
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.artefacts import Provenance, checkpoint_hash, file_hash, settings_hash, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.evaluation import records
from vlm4vla.evaluation.simulators import harness, outcomes
from vlm4vla.evaluation.simulators.check import check_installed
from vlm4vla.evaluation.simulators.episodes import Chosen, chosen, parts, shards
from vlm4vla.evaluation.simulators.processes import Child, free_port, wait_for_answer

RECORDS = "episodes.parquet"
POLL_S = 1.0
PLAYED = "played"  # what the simulators recorded, below a shard's folder


def run(
    settings: RolloutSettings, *, vla: Path | None = None, demonstrations: Path | None = None, output: Path
) -> None:
    """Write `episodes.parquet` and `provenance.json`; what is whole below `output` is not played again.

    Raises UserError with one line when a simulator is not installed, the server does not answer or dies, or
    an episode cannot be played; the episodes that were played are kept.
    """
    simulator = _simulator(settings)
    other = simulator.policies.get(settings.backbone)
    if settings.policy == "vla" and vla is None and other is None:
        raise UserError(f"--vla: write the folder of the policy {settings.backbone}")
    inputs = {"vla": vla, "demonstrations": demonstrations}
    files = {name: folder / "provenance.json" for name, folder in inputs.items() if folder is not None}
    provenance = Provenance("rollout", settings.model_dump(mode="json"), files, settings.evaluation.seed)
    checkpoint = checkpoint_hash(vla) if vla else other.checkpoint if other else settings.policy
    (output / "provenance.json").unlink(missing_ok=True)
    if settings.shard is not None:
        _play_shard(settings, checkpoint, vla, demonstrations, output)
    else:
        paths = []
        for number in range(shards(settings.evaluation)):
            own = settings.model_copy(update={"shard": number})
            folder = output / "shards" / str(number)
            if _identity(folder) != _identity_of(own, checkpoint) or not (folder / RECORDS).exists():
                _play_shard(own, checkpoint, vla, demonstrations, folder)
            paths.append(folder / RECORDS)
        records.merge(paths, output / RECORDS, len(chosen(settings.evaluation)))
    rows = pq.read_table(output / RECORDS, columns=["solved"])
    solved = rows["solved"].to_numpy()
    provenance.write(
        output / "provenance.json",
        checkpoint=checkpoint,
        files={RECORDS: file_hash(output / RECORDS)},
        episodes=len(solved),
        mean_solved=float(solved.mean()),
    )


def _simulator(settings: RolloutSettings) -> Simulator:
    assert settings.evaluation.simulator is not None
    return settings.evaluation.simulator


def _identity_of(settings: RolloutSettings, checkpoint: str) -> str:
    """What the episodes of a shard depend on: not where and how wide it runs, but which episodes it has."""
    dumped = settings.model_dump(mode="json")
    runs = dumped["evaluation"]["simulator"].pop("runs")
    return settings_hash(dumped | {"checkpoint": checkpoint, "shards": runs["shards"]})


def _identity(folder: Path) -> str | None:
    mark = folder / PLAYED / "identity"
    return mark.read_text() if mark.exists() else None


def _play_shard(
    settings: RolloutSettings, checkpoint: str, vla: Path | None, demonstrations: Path | None, folder: Path
) -> None:
    """Write the rows of one shard."""
    simulator = _simulator(settings)
    other = simulator.policies.get(settings.backbone)
    own = parts(chosen(settings.evaluation), shards(settings.evaluation))[settings.shard or 0]
    identity = _identity_of(settings, checkpoint)
    if _identity(folder) != identity:  # episodes of another policy or protocol
        shutil.rmtree(folder / PLAYED, ignore_errors=True)
        (folder / RECORDS).unlink(missing_ok=True)
        write_text(folder / PLAYED / "identity", identity)
    done = _done(folder, own)
    missing = [each for each in own if each.number not in done]
    if missing:
        check_installed(simulator, settings.benchmark)
        title = f"rollout {settings.backbone} {settings.variant} {settings.benchmark}"
        progress = Progress(title, len(own), len(done))
        _Play(settings, other, folder, own, progress).play(missing, vla, demonstrations)
    results = outcomes.played([folder / PLAYED])
    records.write(folder / RECORDS, outcomes.rows(settings, checkpoint, own, results, other))


def _done(folder: Path, episodes: Sequence[Chosen]) -> set[int]:
    numbers = {each.number for each in episodes}
    results = outcomes.played([folder / PLAYED])
    return {number for number, each in results.items() if each.failure is None and number in numbers}


class _Play:
    """One server and its simulators, until the episodes are played or something is wrong."""

    def __init__(
        self,
        settings: RolloutSettings,
        other: OtherPolicy | None,
        folder: Path,
        episodes: Sequence[Chosen],
        progress: Progress,
    ):
        self.settings, self.other, self.folder = settings, other, folder
        self.episodes, self.progress = episodes, progress
        self.simulator = _simulator(settings)
        self.run = folder / PLAYED / f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"

    def play(self, missing: Sequence[Chosen], vla: Path | None, demonstrations: Path | None) -> None:
        host = self.simulator.runs.host
        port = free_port(host)
        with ExitStack() as stack:
            command = (
                harness.other_command(self.other, host, port)
                if self.other
                else harness.server_command(self.settings, port, vla, demonstrations)
            )
            server = Child(command, self.run / "server.log", {})
            stack.callback(server.end)
            silent = wait_for_answer(server, host, port, self.simulator.runs.start_s)
            if silent is not None:
                raise self._told("the policy server", silent, server)
            url = f"ws://{host}:{port}"
            simulators = []
            for number, part in enumerate(parts(missing, self.simulator.runs.processes)):
                simulators.append(self._start(number, part, url))
                stack.callback(simulators[-1].end)
            self._watch(server, simulators)

    def _start(self, number: int, part: Sequence[Chosen], url: str) -> Child:
        folder = self.run / f"simulator{number}"
        config = harness.harness_config(self.settings.evaluation, part, url, other=self.other)
        write_text(folder / "vla-eval.yaml", harness.as_json(config))
        command = harness.simulator_command(self.simulator, folder / "vla-eval.yaml", folder, "episodes")
        return Child(command, folder / "simulator.log", harness.simulator_environment(folder))

    def _watch(self, server: Child, simulators: Sequence[Child]) -> None:
        running = True
        while running:
            running = any(each.status is None for each in simulators)
            if running:
                time.sleep(POLL_S)
            # What ends a run comes before what follows from it: simulators stop when their server does.
            if server.status is not None and (running or self._open()):
                raise self._told(
                    "the policy server", f"died with status {server.status} in an episode", server
                )
            failed = self._failure()
            if failed is not None:
                raise self._told("episode", f"{failed.number} failed ({failed.failure})", server)
            for each in simulators:
                if each.status not in (None, 0):
                    words = f"ended with status {each.status} ({each.last_words()})"
                    raise self._told("the simulator", words, each)
            self.progress.update(len(_done(self.folder, self.episodes)))
        if self._open():
            words = f"left episodes out ({simulators[0].last_words()})"
            raise self._told("the simulator", words, simulators[0])

    def _open(self) -> bool:
        return len(_done(self.folder, self.episodes)) < len(self.episodes)

    def _failure(self) -> outcomes.Played | None:
        """An episode of this run that could not be played to its end."""
        results = outcomes.played([self.run])
        return next((each for each in results.values() if each.failure is not None), None)

    def _told(self, who: str, what: str, child: Child) -> UserError:
        kept = len(_done(self.folder, self.episodes))
        return UserError(
            f"benchmarks.{self.settings.benchmark}.evaluation.simulator: {who} {what}; {kept} of "
            f"{len(self.episodes)} episodes are played and kept: see {child.log}, then run it again"
        )
