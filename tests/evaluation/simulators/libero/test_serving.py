"""The policy server, vla-eval and its simulators as processes: episodes, resumed jobs and messages."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from served_examples import POINT, RecordingPolicy, observation, settings
from served_processes import children, played, when
from simulator_examples import rollout

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.processes import Child
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators import harness
from vlm4vla.evaluation.simulators.job_keys import JobKey
from vlm4vla.evaluation.simulators.served_policies import INITIAL_STATE, Query
from vlm4vla.evaluation.simulators.server import PolicyServer, load_policy
from vlm4vla.stages import rollout as stage

HERE = Path(__file__).parent
STEPS = 6  # steps of a recorded episode, which solves its task


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Simulator processes find `still_world` as they find a user's own class."""
    own = harness.simulator_environment
    path = f"{harness.INSIDE}{os.pathsep}{HERE}"
    monkeypatch.setattr(harness, "simulator_environment", lambda folder: own(folder) | {"PYTHONPATH": path})
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Demonstrations of tasks 0 and 2 from initial states 0 to 2: move along x, then close the gripper."""
    folder = tmp_path_factory.mktemp("recorded")
    with LeRobotWriter(
        folder, fps=10, robot_type="point", image_size=32, extra_columns={INITIAL_STATE: ("i",)}
    ) as writer:
        for task in (0, 2):
            for state in range(3):
                actions = np.zeros((STEPS, 7), dtype=np.float32)
                actions[:, 0] = 1
                actions[:, 1] = np.linspace(-0.3, 0.2, STEPS)
                actions[:, 6] = [-1] * (STEPS - 1) + [1]
                images = np.zeros((STEPS, 32, 32, 3), dtype=np.uint8)
                starts = {INITIAL_STATE: np.full((STEPS, 1), state, dtype=np.float32)}
                writer.add_episode(images, np.zeros((STEPS, 8)), actions, f"go to place {task}", starts)
    write_json(folder / "provenance.json", {"stage": "demonstrations"})
    return folder


def test_recorded_actions_solve_every_episode_through_the_server(tmp_path, recorded):
    stage.run(settings(runs={"processes": 2}), demonstrations=recorded, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert rows["success"].to_pylist() == [True] * 6
    assert rows["steps"].to_pylist() == [STEPS] * 6  # an episode ends at the step at which it succeeds
    assert rows["initial_state"].to_pylist() == [0, 1, 2] * 2
    assert rows["instruction"].to_pylist() == ["go to place 0"] * 3 + ["go to place 2"] * 3
    assert "gripper -1 opens and +1 closes" in rows["protocol"][0].as_py()
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["episodes"] == 6 and provenance["mean_solved"] == 1


def test_the_protocol_sets_the_number_of_executed_steps(tmp_path, recorded):
    """With three executed steps per chunk, the server plans at every third step, and no action is lost."""
    stage.run(settings(execution_horizon=3), demonstrations=recorded, output=tmp_path)
    assert pq.read_table(tmp_path / "episodes.parquet")["steps"].to_pylist() == [STEPS] * 6


def test_an_episode_ends_at_its_maximum_number_of_steps(tmp_path, recorded):
    stage.run(settings(max_steps=4), demonstrations=recorded, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert rows["success"].to_pylist() == [False] * 6 and rows["steps"].to_pylist() == [4] * 6


def test_shards_are_merged_and_not_run_again(tmp_path, recorded):
    cut = settings(runs={"shards": 2})
    part = cut.model_copy(update={"shard": 1})
    stage.run(part, demonstrations=recorded, output=tmp_path / "shards" / "1")
    kept = (tmp_path / "shards/1/episodes.parquet").stat().st_mtime_ns
    stage.run(cut, demonstrations=recorded, output=tmp_path)
    assert (tmp_path / "shards/1/episodes.parquet").stat().st_mtime_ns == kept
    assert pq.read_table(tmp_path / "episodes.parquet")["episode"].to_pylist() == list(range(6))
    whole = (tmp_path / "episodes.parquet").read_bytes()
    (tmp_path / "episodes.parquet").unlink()
    wider = settings(runs={"shards": 2, "processes": 3})
    stage.run(wider, demonstrations=recorded, output=tmp_path)
    assert (tmp_path / "episodes.parquet").read_bytes() == whole  # `runs` does not change the records


def test_random_actions_are_reproducible(tmp_path, recorded):
    for name in ("one", "two"):
        stage.run(settings("random"), demonstrations=recorded, output=tmp_path / name)
    one, two = (pq.read_table(tmp_path / name / "episodes.parquet") for name in ("one", "two"))
    assert one.equals(two) and set(one["model"].to_pylist()) == {"random"}


# Failures -------------------------------------------------------------------------------------------


def test_finished_episodes_are_kept_when_the_server_dies(tmp_path, recorded):
    slow = settings(params={"pause": 0.4})
    killer = when(
        lambda: children("vlm4vla.evaluation.simulators.server") if len(played(tmp_path)) >= 2 else [],
        lambda found: os.kill(found[0], signal.SIGKILL),
    )
    with pytest.raises(UserError, match=r"evaluation\.simulator: the policy server died") as caught:
        stage.run(slow, demonstrations=recorded, output=tmp_path)
    killer.join()
    assert "\n" not in str(caught.value)
    done = {n for n, each in played(tmp_path).items() if each.failure is None}
    assert 2 <= len(done) < 6
    assert f"{len(done)} of 6 episodes are finished and kept" in str(caught.value)
    assert not children("vla_eval")
    stage.run(slow, demonstrations=recorded, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert rows["success"].to_pylist() == [True] * 6
    runs = sorted(p for p in (tmp_path / "shards/0/played").iterdir() if p.is_dir())
    asked = json.loads((runs[1] / "simulator0/vla-eval.yaml").read_text())
    again = {each["number"] for each in asked["benchmarks"][0]["params"]["episodes"]}
    assert len(runs) == 2 and again == set(range(6)) - done  # no episode runs twice


def test_a_server_that_stops_answering_in_an_episode(tmp_path, recorded):
    stopped = when(
        lambda: children("vlm4vla.evaluation.simulators.server") if len(played(tmp_path)) >= 1 else [],
        lambda found: os.kill(found[0], signal.SIGSTOP),
    )
    slow = settings(params={"pause": 0.4}, runs={"answer_s": 10})
    with pytest.raises(UserError, match="the policy server did not answer in time") as caught:
        stage.run(slow, demonstrations=recorded, output=tmp_path)
    stopped.join()
    assert "episodes are finished and kept" in str(caught.value)
    assert not children("vlm4vla.evaluation.simulators.server")  # a stopped server is ended, too


def test_the_message_of_a_server_that_fails_to_start_is_shown(tmp_path):
    with pytest.raises(UserError, match="the policy server ended with status 1") as caught:
        stage.run(settings(), demonstrations=None, output=tmp_path)
    assert "needs the folder of a dataset" in str(caught.value)


def test_a_job_that_reaches_the_server_of_another_job_plays_nothing(tmp_path, recorded, monkeypatch):
    other_key, own = JobKey.create(), harness.wait_for_port
    command = harness.server_command(settings("random"), tmp_path / "other.json", None, recorded)
    with Child(command, environment=other_key.environment(), log=tmp_path / "other.log") as other:
        port, problem = own(other, tmp_path / "other.json", 120)
        assert problem is None
        assert harness.wait_for_answer(other, "127.0.0.1", port, 120, other_key) is None
        monkeypatch.setattr(harness, "wait_for_port", lambda *_: (port, None))
        with pytest.raises(UserError, match="the policy server is not this job's") as caught:
            stage.run(settings(), demonstrations=recorded, output=tmp_path / "out")
        assert "\n" not in str(caught.value) and f"127.0.0.1:{port}" in str(caught.value)
        assert "refused a request that has no ticket of this job" in other.last_line()
    assert played(tmp_path / "out") == {}


def test_tickets_are_readable_for_this_user_only_while_the_job_runs(tmp_path, recorded):
    seen = []

    def modes():
        return [each.stat().st_mode & 0o777 for each in (tmp_path / "shards/0/played").glob("*-*")]

    watcher = when(modes, lambda found: (time.sleep(0.5), seen.extend(modes())))
    stage.run(settings(params={"pause": 0.2}), demonstrations=recorded, output=tmp_path)
    watcher.join()
    assert seen == [0o700] and modes() != seen


def test_a_simulator_process_that_dies(tmp_path, recorded):
    mark = tmp_path / "mark"
    slow = settings(params={"pause": 0.4, "mark": str(mark)})
    killer = when(
        lambda: mark.exists() and len(played(tmp_path)) >= 1 and mark.read_text(),
        lambda found: os.kill(int(found), signal.SIGKILL),
    )
    with pytest.raises(UserError, match="the simulator ended with status -9"):
        stage.run(slow, demonstrations=recorded, output=tmp_path)
    killer.join()
    assert not children("vlm4vla.evaluation.simulators.server")
    stage.run(slow, demonstrations=recorded, output=tmp_path)
    assert pq.read_table(tmp_path / "episodes.parquet")["success"].to_pylist() == [True] * 6


def test_a_different_action_space_is_refused_before_any_episode(tmp_path, recorded):
    with pytest.raises(UserError, match="gripper binary_close_negative") as caught:
        stage.run(settings(params={"opens": True}), demonstrations=recorded, output=tmp_path)
    assert "the policy sends gripper binary_close_positive" in str(caught.value)
    assert played(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": "no_such_world:Point"}, "'no_such_world' is not installed"),
        ({"runs": {"environment": "/nowhere"}}, "'/nowhere' is not a virtual environment"),
        (
            {"adapter": "libero", "tasks": [0], "runs": {"environment": "EMPTY"}},
            "'vla_eval' is not installed in",
        ),
    ],
)
def test_a_simulator_that_is_not_installed(tmp_path, recorded, changes, message):
    if changes.get("runs", {}).get("environment") == "EMPTY":
        (tmp_path / "venv/bin").mkdir(parents=True)
        (tmp_path / "venv/bin/python").touch()
        changes = changes | {"runs": {"environment": str(tmp_path / "venv")}}
    asked = rollout(
        "libero-10",
        policy="expert",
        model="expert",
        simulator=POINT | changes,
        episodes=1,
        execution_horizon=2,
    )
    with pytest.raises(UserError, match=r"benchmarks\.libero-10\.evaluation\.simulator") as caught:
        stage.run(asked, demonstrations=recorded, output=tmp_path / "out")
    assert message in str(caught.value) and "\n" not in str(caught.value)


# The policy server --------------------------------------------------------------------------------


class Session:
    step = 0

    def __init__(self, session_id="s"):
        self.session_id = session_id
        self.sent = []

    async def send_action(self, action):
        self.sent.append(action["actions"])


def test_a_chunk_is_discarded_when_the_next_instruction_of_a_chain_begins():
    import anyio

    policy, session = RecordingPolicy(), Session()
    server = PolicyServer(policy, settings(execution_horizon=3))

    async def play():
        await server.on_episode_start({"task": {"number": 4}}, session)
        for step in range(5):
            await server.on_observation(
                observation(**({"episode_restart": True} if step == 2 else {})), session
            )

    anyio.run(play)
    assert len(policy.batches) == 2  # at the start, and at the restart, which three steps of the chunk follow
    assert policy.started == [("s", {"number": 4})] and len(session.sent) == 5
    assert policy.batches[0][0].image.shape == (32, 32, 3)


def test_queries_of_several_sessions_are_answered_in_one_batch():
    policy = RecordingPolicy()
    server = PolicyServer(policy, settings(runs={"processes": 8}))
    answers = server.predict_batch([observation()] * 3, [Session(str(n)) for n in range(3)])
    assert [each.session for each in policy.batches[0]] == ["0", "1", "2"]
    assert [answer["actions"].shape for answer in answers] == [(2, 7)] * 3


def test_an_old_image_is_refused():
    server = PolicyServer(RecordingPolicy(), settings())
    with pytest.raises(ValueError, match="1 steps old"):
        server.predict_batch([observation(image_age=1)], [Session()])


def test_random_actions_stay_within_the_demonstrations(recorded):
    wanted = settings("random", execution_horizon=5)
    policy = load_policy(wanted, None, recorded)
    policy.start_episode("s", {"number": 3})
    chunk = policy.plan([Query("s", np.zeros((32, 32, 3), np.uint8), "go")])[0]
    stats = json.loads((recorded / "meta/stats.json").read_text())
    bounds = Statistics.from_stats(stats, "range", "libero-10")
    assert chunk.shape == (5, 7) and (chunk[:, :6] <= bounds.high + 1e-6).all()
    assert (chunk[:, :6] >= bounds.low - 1e-6).all() and set(chunk[:, 6]) <= {-1.0, 1.0}


def test_the_server_listens_on_loopback_only(tmp_path, recorded, monkeypatch):
    import psutil

    seen = []

    def listening():
        found = children("vlm4vla.evaluation.simulators.server")
        return found and [
            c.laddr.ip for c in psutil.Process(found[0]).net_connections() if c.status == "LISTEN"
        ]

    watcher = when(listening, seen.extend)
    stage.run(settings(params={"pause": 0.1}), demonstrations=recorded, output=tmp_path)
    watcher.join()
    assert set(seen) == {"127.0.0.1"}
