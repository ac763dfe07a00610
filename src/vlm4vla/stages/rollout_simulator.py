"""The stage rollout on a real simulator: shards of episodes, each with a policy server of its own.

With `settings.shard`, the stage runs one shard. Without it, the stage runs all unfinished shards and merges
them. Finished episodes are kept: a job that was interrupted, or whose server died, resumes with the missing
episodes. A rollout that can stop early has no shards: one policy server serves its blocks one after another.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from vlm4vla.config.simulators import ExternalPolicy, Simulator
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import Stop
from vlm4vla.core.artefacts import Provenance, checkpoint_hash, file_hash, settings_hash, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.core.processes import Child
from vlm4vla.core.progress import Progress
from vlm4vla.core.successor import NEXT, aside
from vlm4vla.evaluation import records
from vlm4vla.evaluation.early_stop import EarlyStop
from vlm4vla.evaluation.films import FILMS, VIDEOS, film_number
from vlm4vla.evaluation.simulators import harness, ports, recordings
from vlm4vla.evaluation.simulators.episodes import (
    SimulatorEpisode,
    shard_count,
    simulator_episodes,
    split_episodes,
)
from vlm4vla.evaluation.simulators.installation import check_installed
from vlm4vla.evaluation.simulators.job_keys import JobKey
from vlm4vla.evaluation.simulators.recorded_states import policy_note
from vlm4vla.policies.released.folder import folder_hash, rollout_folder
from vlm4vla.stages.scored_card import write_scores
from vlm4vla.study.layout import EPISODES as RECORDS
from vlm4vla.study.layout import PROVENANCE, SHARDS

POLL_S = 1.0  # seconds between looks at the processes
PLAYED = "played"  # subfolder of a shard with the recordings of the simulators


def run(
    settings: RolloutSettings,
    *,
    vla: Path | None = None,
    demonstrations: Path | None = None,
    against: Path | None = None,
    output: Path,
) -> None:
    """Write `episodes.parquet`, `videos/*.gif` and `provenance.json` to `output`.

    Finished episodes are not run again.

    `vla`: folder of a trained policy. `demonstrations`: folder of the demonstrations, for reference policies.
    `against`: folder of the rollout that `evaluation.stop` compares this one with.
    Raises UserError (one line) if a simulator is not installed, if the server does not answer or dies, or if
    an episode fails. Finished episodes are kept.
    """
    simulator = _simulator(settings)
    other = simulator.policies.get(settings.backbone)
    if settings.policy == "vla" and vla is None and other is None and settings.released is None:
        raise UserError(f"--vla: write the folder of the policy {settings.backbone}")
    inputs = {"vla": vla, "demonstrations": demonstrations, "against": against}
    files = {name: folder / "provenance.json" for name, folder in inputs.items() if folder is not None}
    provenance = Provenance("rollout", settings.model_dump(mode="json"), files, settings.evaluation.seed)
    if settings.released is not None:
        checkpoint = folder_hash(rollout_folder(settings))
    else:
        checkpoint = checkpoint_hash(vla) if vla else other.checkpoint if other else settings.policy
    note = policy_note(settings.evaluation, vla) if vla is not None else None
    if note is not None:
        print(f"note: {note}", flush=True)
    stop = None
    if against is not None:
        stop = _run_blocks(settings, checkpoint, vla, against, output)
    elif settings.shard is not None:
        _run_shard(settings, checkpoint, vla, demonstrations, output)
    else:
        paths = []
        count = shard_count(settings.evaluation)
        for number, part in enumerate(split_episodes(simulator_episodes(settings.evaluation), count)):
            own = settings.model_copy(update={"shard": number})
            folder = output / SHARDS / str(number)
            same = _saved_identity(folder) == _identity(own, checkpoint)
            if not same or not records.is_whole(folder / RECORDS, [each.number for each in part]):
                _run_shard(own, checkpoint, vla, demonstrations, folder)
            paths.append(folder / RECORDS)
        (output / PROVENANCE).unlink(missing_ok=True)  # it describes the records that go now
        shutil.rmtree(output / VIDEOS, ignore_errors=True)
        for film in (film for path in paths for film in sorted((path.parent / VIDEOS).glob(FILMS))):
            (output / VIDEOS).mkdir(exist_ok=True)
            shutil.copy2(film, output / VIDEOS / film.name)
        records.merge(paths, output / RECORDS, len(simulator_episodes(settings.evaluation)))
    if settings.shard is None and simulator.variation is None:  # a card has the score on the own tasks
        write_scores(vla, output / RECORDS, checkpoint)
    rows = pq.read_table(output / RECORDS, columns=["solved"])
    solved = rows["solved"].to_numpy()
    ended = {"stop": stop.summary()} if stop else {}
    provenance.write(
        output / PROVENANCE,
        checkpoint=checkpoint,
        files={RECORDS: file_hash(output / RECORDS)},
        episodes=len(solved),
        mean_solved=float(solved.mean()),
        **ended,
    )


def _simulator(settings: RolloutSettings) -> Simulator:
    assert settings.evaluation.simulator is not None
    return settings.evaluation.simulator


def _identity(settings: RolloutSettings, checkpoint: str) -> str:
    """Hash of what the episodes of a shard depend on: not where and how parallel the shard runs.

    It does not depend on `stop` either: every episode is recorded on its own, in whatever order they run.
    """
    dumped = settings.model_dump(mode="json")
    dumped["evaluation"].pop("stop", None)
    runs = dumped["evaluation"]["simulator"].pop("runs")
    return settings_hash(dumped | {"checkpoint": checkpoint, "shards": runs["shards"]})


def _saved_identity(folder: Path) -> str | None:
    mark = folder / PLAYED / "identity"
    return mark.read_text(errors="replace") if mark.is_file() else None


def _run_shard(
    settings: RolloutSettings, checkpoint: str, vla: Path | None, demonstrations: Path | None, folder: Path
) -> None:
    """Run the missing episodes of one shard, and write the rows of all its episodes to `folder`."""
    simulator = _simulator(settings)
    other = simulator.policies.get(settings.backbone)
    episodes = split_episodes(simulator_episodes(settings.evaluation), shard_count(settings.evaluation))[
        settings.shard or 0
    ]
    work = _work_folder(folder, _identity(settings, checkpoint))
    finished = _finished(work, episodes)
    missing = [each for each in episodes if each.number not in finished]
    if missing:
        session = _session(settings, work, episodes, len(finished))
        session.run([(missing, episodes)], vla, demonstrations)
    results = recordings.read_recordings([work / PLAYED])
    rows = recordings.records_table(settings, checkpoint, episodes, results, other)
    _replace(folder, work, [each.number for each in episodes])
    records.write(folder / RECORDS, rows)


def _work_folder(folder: Path, identity: str) -> Path:
    """The folder of the recordings: `folder` itself, or a hidden folder in it.

    Finished records of another policy or protocol stay as they are until their successor is whole.
    """
    for each in (folder, folder / NEXT):
        if _saved_identity(each) == identity:
            return each
    standing = (folder / PROVENANCE, folder / RECORDS, aside(folder / RECORDS))
    work = folder / NEXT if any(path.exists() for path in standing) else folder
    shutil.rmtree(work / PLAYED, ignore_errors=True)
    write_text(work / PLAYED / "identity", identity)
    return work


def _replace(folder: Path, work: Path, numbers: Sequence[int]) -> None:
    """Put the recordings of `work` in the place of those in `folder`, whose records are written next.

    The films of the episodes `numbers` lie beside these records.
    """
    (folder / PROVENANCE).unlink(missing_ok=True)  # it describes the records that go now
    if work != folder:
        shutil.rmtree(folder / PLAYED, ignore_errors=True)
        (work / PLAYED).rename(folder / PLAYED)
        shutil.rmtree(work)
    shutil.rmtree(folder / VIDEOS, ignore_errors=True)
    for film in sorted((folder / PLAYED).glob(f"*/{VIDEOS}/{FILMS}")):
        if film_number(film) in numbers:
            (folder / VIDEOS).mkdir(exist_ok=True)
            shutil.copy2(film, folder / VIDEOS / film.name)


def _session(
    settings: RolloutSettings, folder: Path, episodes: Sequence[SimulatorEpisode], finished: int
) -> _Session:
    simulator = _simulator(settings)
    check_installed(simulator, settings.benchmark)
    title = f"rollout {settings.backbone} {settings.variant} {settings.benchmark}"
    progress = Progress(title, len(episodes), finished)
    return _Session(settings, simulator.policies.get(settings.backbone), folder, episodes, progress)


def _run_blocks(
    settings: RolloutSettings, checkpoint: str, vla: Path | None, against: Path, output: Path
) -> Stop:
    """Run block after block until the comparison is decided, and write the rows of these episodes."""
    if settings.shard is not None:
        raise UserError("shard: a rollout that can stop early has no shards: run it without this setting")
    episodes = simulator_episodes(settings.evaluation)
    early = EarlyStop(settings, against / RECORDS, len(episodes))
    early.check("initial_state", [each.state for each in episodes])
    work = _work_folder(output, _identity(settings, checkpoint))

    def parts() -> Iterator[Part]:
        while True:
            wanted, stop = _standing(early, work)
            if stop is not None:
                return
            finished = _finished(work, episodes)
            chosen = [episodes[number] for number in wanted]
            yield [each for each in chosen if each.number not in finished], chosen

    if _standing(early, work)[1] is None:
        finished = len(_finished(work, episodes))
        _session(settings, work, episodes, finished).run(parts(), vla, None)
    _, stop = _standing(early, work)
    assert stop is not None
    chosen = [episodes[number] for number in stop.numbers]
    results = recordings.read_recordings([work / PLAYED])
    other = _simulator(settings).policies.get(settings.backbone)
    rows = recordings.records_table(settings, checkpoint, chosen, results, other)
    _replace(output, work, stop.numbers)
    part = output / PLAYED / "blocks.parquet"
    records.write(part, rows)
    records.merge([part], output / RECORDS, len(episodes), stop)
    return stop


def _standing(early: EarlyStop, output: Path) -> tuple[list[int], Stop | None]:
    """The numbers of the episodes up to the first unfinished block, and no stop; or no numbers and the stop.

    Raises UserError if a finished episode had another task than in the records of the other policy.
    """
    results = recordings.read_recordings([output / PLAYED])
    played = {number: each for number, each in results.items() if each.failure is None}
    reached: list[int] = []
    stop = None
    for block in early.blocks():
        reached += block
        if not all(number in played for number in block):
            return reached, None
        early.check("task", [played[number].task for number in block], block)
        stop = early.look([played[number].solved for number in reached])
        if stop.reason:
            break
    return [], stop


def _finished(folder: Path, episodes: Sequence[SimulatorEpisode]) -> set[int]:
    """Numbers of the finished episodes."""
    numbers = {each.number for each in episodes}
    results = recordings.read_recordings([folder / PLAYED])
    return {number for number, each in results.items() if each.failure is None and number in numbers}


# The missing episodes of a block, and all episodes up to the end of the block
Part = tuple[Sequence[SimulatorEpisode], Sequence[SimulatorEpisode]]


@contextmanager
def _private(folder: Path) -> Iterator[None]:
    """Within the block, only this user may read `folder`, which then has the tickets of the simulators."""
    folder.mkdir(parents=True)
    mode = folder.stat().st_mode
    folder.chmod(0o700)
    try:
        yield
    finally:
        folder.chmod(mode)


class _Session:
    """One policy server and its simulators, until all episodes are finished or one process fails.

    `episodes`: those that have to be finished before the present simulators end.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        other: ExternalPolicy | None,
        folder: Path,
        episodes: Sequence[SimulatorEpisode],
        progress: Progress,
    ):
        self.settings, self.other, self.folder = settings, other, folder
        self.episodes, self.progress = episodes, progress
        self.simulator = _simulator(settings)
        self.recordings = folder / PLAYED / f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"

    def run(self, parts: Iterable[Part], vla: Path | None, demonstrations: Path | None) -> None:
        """Run the missing episodes of each part. Raises UserError if a process dies or an episode fails.

        The simulators of a part start when those of the part before have ended.
        """
        host = self.simulator.runs.host
        key = None if self.other else JobKey.create()
        with ExitStack() as stack:
            stack.enter_context(_private(self.recordings))
            server, port = self._serve(stack, key, vla, demonstrations)
            problem = harness.wait_for_answer(server, host, port, self.simulator.runs.start_s, key)
            if problem is not None:
                raise self._error("the policy server", problem, server)
            url = f"ws://{ports.address(host, port)}"
            started = 0
            for missing, self.episodes in parts:
                with ExitStack() as running:
                    simulators = []
                    for part in split_episodes(missing, self.simulator.runs.processes):
                        simulators.append(running.enter_context(self._start(started, part, url, key)))
                        started += 1
                    self._watch(server, simulators)

    def _serve(
        self, stack: ExitStack, key: JobKey | None, vla: Path | None, demonstrations: Path | None
    ) -> tuple[Child, int]:
        """Start the policy server. Returns it with its port, which our server has bound when this returns."""
        host, log = self.simulator.runs.host, self.recordings / "server.log"
        if self.other:
            port = ports.free_port(host)
            command = harness.external_command(self.other, host, port)
            return stack.enter_context(Child(command, log=log)), port
        assert key is not None
        address = self.recordings / "server.json"
        command = harness.server_command(self.settings, address, vla, demonstrations)
        server = stack.enter_context(Child(command, environment=key.environment(), log=log))
        port, problem = harness.wait_for_port(server, address, self.simulator.runs.start_s)
        if problem is not None:
            raise self._error("the policy server", problem, server)
        return server, port

    def _start(self, number: int, part: Sequence[SimulatorEpisode], url: str, key: JobKey | None) -> Child:
        folder = self.recordings / f"simulator{number}"
        ticket = key.ticket() if key else None
        config = harness.harness_config(
            self.settings.evaluation,
            part,
            url + (ticket.path if ticket else ""),
            external=self.other,
            proof=ticket.proof if ticket else None,
            script=self.settings.policy == "script",
        )
        write_text(folder / "vla-eval.yaml", harness.as_json(config))
        command = harness.simulator_command(self.simulator, folder / "vla-eval.yaml", folder, "episodes")
        environment = harness.simulator_environment(folder)
        return Child(command, environment=environment, log=folder / "simulator.log")

    def _watch(self, server: Child, simulators: Sequence[Child]) -> None:
        """Wait until all simulators have ended. Raises UserError as `run` does."""
        running = True
        while running:
            running = any(each.status is None for each in simulators)
            if running:
                time.sleep(POLL_S)
            # The server is checked first, because simulators stop when their server has died.
            if server.status is not None and (running or self._unfinished()):
                raise self._error(
                    "the policy server", f"died with status {server.status} in an episode", server
                )
            failed = self._failure()
            if failed is not None:
                raise self._error("episode", f"{failed.number} failed ({failed.failure})", server)
            for each in simulators:
                if each.status not in (None, 0):
                    problem = f"ended with status {each.status} ({each.last_line()})"
                    raise self._error("the simulator", problem, each)
            self.progress.update(len(_finished(self.folder, self.episodes)))
        if self._unfinished():
            problem = f"did not run all episodes ({simulators[0].last_line()})"
            raise self._error("the simulator", problem, simulators[0])

    def _unfinished(self) -> bool:
        return len(_finished(self.folder, self.episodes)) < len(self.episodes)

    def _failure(self) -> recordings.PlayedEpisode | None:
        """An episode of this session that failed."""
        results = recordings.read_recordings([self.recordings])
        return next((each for each in results.values() if each.failure is not None), None)

    def _error(self, subject: str, problem: str, child: Child) -> UserError:
        finished = len(_finished(self.folder, self.episodes))
        return UserError(
            f"benchmarks.{self.settings.benchmark}.evaluation.simulator: {subject} {problem}; {finished} of "
            f"{len(self.episodes)} episodes are finished and kept: read {child.log}, then run the stage again"
        )
