"""Gripper columns: what is accepted as commands, and the conversion of relative commands to states."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import (
    FRONT,
    TOTAL,
    actions,
    first_frames,
    stats_of,
    write_v21,
    write_v30,
)

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.demonstrations import Demonstrations, GripperValues
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations import gripper_commands
from vlm4vla.data.demonstrations.frame_index import open_index
from vlm4vla.data.demonstrations.gripper_commands import absolute_commands
from vlm4vla.data.demonstrations.matching import check_stated_gripper, choose
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.stages.demonstrations_dataset import run
from vlm4vla.stages.fast_data import normalised_chunks

RELATIVE = GripperValues(open=1, close=-1, hold=0)


def dataset_with(column, folder, write=write_v30):
    """A dataset whose gripper column is `column` (N,), with correct statistics in meta/."""
    folder = write(folder / "set", "image")
    done, columns = 0, []
    for file in sorted(folder.glob("data/*/*.parquet")):
        table = pq.read_table(file)
        values = np.array(table["action"].to_pylist(), dtype=np.float32)
        values[:, 6] = column[done : done + len(values)]
        done += len(values)
        columns.append(values)
        place = table.column_names.index("action")
        new = pa.array(values.tolist(), table.schema.field("action").type)
        pq.write_table(table.set_column(place, "action", new), file)
    if write is write_v30:
        record = stats_of(np.concatenate(columns))
        (folder / "meta/stats.json").write_text(json.dumps({"action": record}))
    else:
        lines = [
            json.dumps({"episode_index": number, "stats": {"action": stats_of(own)}}) + "\n"
            for number, own in enumerate(columns)
        ]
        (folder / "meta/episodes_stats.jsonl").write_text("".join(lines))
    return folder


def wanted(folder, gripper=None):
    return Demonstrations(dataset=str(folder), camera=FRONT, gripper=gripper)


def index(folder, output, benchmark="calvin", gripper=None):
    settings = DemonstrationsSettings(
        benchmark=benchmark, demonstrations=wanted(folder, gripper), image_size=32
    )
    run(settings, output=output)
    return open_index(output)


def plan(folder, benchmark="calvin", gripper=None):
    metadata, how = read_metadata(folder), wanted(folder, gripper)
    check_stated_gripper(metadata, choose(metadata, how, "key"), how, benchmark, "key")


def holding():
    """Relative commands of every kind of episode, and by hand whether the gripper is then open."""
    column, opens = np.zeros(TOTAL, dtype=np.float32), np.zeros(TOTAL, dtype=bool)
    a, b, c, d, e = first_frames()
    column[a + 2], column[a + 5] = -1, 1  # open until it closes, then opened again
    opens[a : a + 2], opens[a + 5 : b] = True, True
    column[b] = 1  # opened in the first frame
    opens[b:c] = True
    column[c + 11] = 1  # closed until the last frame, which opens it
    opens[c + 11] = True
    opens[d:e] = True  # no command: open
    column[e + 1 : e + 4] = -1, 1, -1  # changes from frame to frame
    opens[e], opens[e + 2] = True, True
    return column, opens


@pytest.mark.parametrize(
    ("benchmark", "own"), [("calvin", (1, -1)), ("bridge", (1, 0)), ("libero-10", (-1, 1))]
)
def test_relative_commands_keep_the_last_state_of_their_episode(tmp_path, capsys, benchmark, own):
    column, opens = holding()
    found = index(dataset_with(column, tmp_path), tmp_path / "out", benchmark, RELATIVE)
    np.testing.assert_array_equal(found.actions[:, 6], np.where(opens, *own))
    np.testing.assert_array_equal(found.actions[:, :6], actions()[:, :6])
    assert found.stats["action"]["mean"][6] == pytest.approx(np.where(opens, *own).mean())
    assert "1 episodes have no gripper command: their gripper stays open" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/provenance.json").read_text())["gripper"]
    assert record == {"held": int((column == 0).sum()), "episodes_without_command": 1}


def test_fast_tokens_see_the_states_and_not_the_holds(tmp_path):
    column, opens = holding()
    found = index(dataset_with(column, tmp_path), tmp_path / "out", "calvin", RELATIVE)
    statistics = Statistics.from_stats(found.stats, "range", "calvin")
    chunks = normalised_chunks(found, statistics, 1)
    np.testing.assert_array_equal(chunks[:, 0, 6], np.where(opens, 1, -1))


@pytest.mark.parametrize(
    ("values", "column", "opens"),
    [
        ({"open": 1, "close": -1, "hold": 0}, [0, 0, 1, 0, -1, 0], [0, 0, 1, 1, 0, 0]),
        ({"open": -1, "close": 1, "hold": 0}, [0, 0, 1, 0, -1, 0], [1, 1, 0, 0, 1, 1]),
        ({"open": 1, "close": 0, "hold": 0.5}, [0.5, 0, 0.5, 1, 0.5], [1, 0, 0, 1, 1]),
        ({"open": 0.03, "close": -0.03, "hold": 0}, [0.002, -0.028, 0.001, 0.031, -0.004], [1, 0, 0, 1, 1]),
        ({"open": 1, "close": 2, "hold": 0}, [0, 1, 0, 2, 0], [0, 1, 1, 0, 0]),
        ({"open": 1, "close": -1, "hold": 0}, [0.5, -0.5, 0], [1, 1, 1]),  # a tie holds; no command is open
        ({"open": 1, "close": -1, "hold": 0}, [-1], [0]),
    ],
)
def test_states_by_hand(values, column, opens):
    found, held = absolute_commands(np.float32(column), GripperValues(**values))
    assert found.tolist() == [bool(each) for each in opens]
    levels = np.array([values["hold"], values["open"], values["close"]])
    assert held == sum(np.abs(levels - value).argmin() == 0 for value in column)


def test_episodes_longer_than_a_block_are_converted_as_a_whole(monkeypatch):
    monkeypatch.setattr(gripper_commands, "BLOCK", 3)
    column = np.float32([0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0])
    how = Demonstrations(dataset="x", gripper=RELATIVE)
    done = gripper_commands.convert_column(column, np.array([0, 8]), how, "calvin")
    assert column.tolist() == [-1] * 4 + [1] * 4 + [1] + [-1] * 3
    assert (done.held, done.without_command) == (10, 0)


def mixed(share, middle, low=-1.0, high=1.0):
    """A column of `low` and `high` in which a `share` of the frames has the value `middle`."""
    column = np.resize([low, high], TOTAL).astype(float)
    places = np.random.default_rng(0).permutation(TOTAL)[: round(share * TOTAL)]
    column[places] = middle
    column[[0, 1]] = low, high
    return column


@pytest.mark.parametrize(
    ("benchmark", "column", "text"),
    [
        ("calvin", mixed(0.8, 0), r"0 in .*%.*hold: 0\}`"),
        ("libero-10", mixed(0.2, 0), r"open: -1, close: 1, hold: 0\}`"),
        ("bridge", mixed(0.5, 0.5, 0, 1), r"open: 1, close: 0, hold: 0\.5\}`"),
        (
            "calvin",
            np.linspace(-1, 1, TOTAL),
            r"more than 5 different values from -1 to 1: .*hold: \.\.\.",
        ),
        ("bridge", np.linspace(0, 1, TOTAL), r"more than 5 different values from 0 to 1"),
        ("bridge", mixed(0.8, 0), r"ranges from -1 to 1, but bridge's .*; it holds -1 in .*, 0 in .*, 1 in"),
        ("calvin", mixed(0.5, 0, -0.05, 0.05), r"ranges from -0\.05 to 0\.05, but calvin's"),
        ("calvin", np.linspace(0, 0.08, TOTAL), r"ranges from 0 to 0\.08, but calvin's .* more than 5"),
        ("bridge", mixed(0.5, 128, 0, 255), r"ranges from 0 to 255, but bridge's"),
        ("calvin", np.where(mixed(0.7, 0) < 0, 0, mixed(0.7, 0)), r"ranges from 0 to 1, but calvin's"),
    ],
)
def test_columns_that_are_not_commands_are_refused(tmp_path, benchmark, column, text):
    folder = dataset_with(column, tmp_path)
    with pytest.raises(UserError, match=text) as error:
        index(folder, tmp_path / "out", benchmark)
    line = str(error.value)
    assert line.startswith(f"benchmarks.{benchmark}.demonstrations.gripper: ") and "\n" not in line
    assert str(folder) in line and not (tmp_path / "out/provenance.json").exists()


@pytest.mark.parametrize(
    ("gripper", "column"),
    [
        ({"open": 0.08, "close": 0}, np.linspace(0, 0.08, TOTAL)),  # a width in metres
        ({"open": 0, "close": 255}, mixed(0.4, 120, 0, 255)),  # a position that stops at an object
        ({"open": 1, "close": -1, "hold": 0}, np.linspace(-1, 1, TOTAL)),
    ],
)
def test_configured_values_do_not_make_a_continuous_column_a_command(tmp_path, gripper, column):
    with pytest.raises(UserError, match=r"of the frames are between the commands of `gripper` of benchmarks"):
        index(dataset_with(column, tmp_path), tmp_path / "out", "bridge", gripper)


def test_relative_values_of_another_range_are_refused(tmp_path):
    folder = dataset_with(mixed(0.8, 0, -0.1, 0.1), tmp_path)
    with pytest.raises(UserError, match=r"ranges from -0\.1 to 0\.1, but `gripper` of"):
        index(folder, tmp_path / "out", gripper=RELATIVE)
    with pytest.raises(UserError, match=r"key\.gripper: .*by its meta/\) ranges from -0\.1 to 0\.1"):
        plan(folder, gripper=RELATIVE)


def test_relative_commands_that_only_close_are_accepted(tmp_path):
    column = np.zeros(TOTAL)
    column[[6, 20, 38]] = -1
    found = index(dataset_with(column, tmp_path), tmp_path / "out", gripper=RELATIVE)
    assert found.actions[[5, 6, 19, 20], 6].tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize(("frames", "accepted"), [(1, True), (3, True), (4, False), (8, False)])
def test_a_tenth_of_the_frames_may_lie_between_two_commands(tmp_path, capsys, frames, accepted):
    """Of 39 frames, 3 are 7.7 % and 4 are 10.3 %."""
    column = np.resize([-1.0, 1.0], TOTAL)
    column[5 : 5 + frames] = np.linspace(-0.4, 0.4, frames) if frames > 1 else 0.1
    folder = dataset_with(column, tmp_path)
    if not accepted:
        with pytest.raises(UserError, match="of the frames are between the commands of calvin's gripper"):
            index(folder, tmp_path / "out")
        return
    found = index(folder, tmp_path / "out")
    np.testing.assert_array_equal(found.actions[:, 6], np.float32(column))
    assert f"{frames} of 39 frames have a gripper value between two commands" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/provenance.json").read_text())
    assert record["gripper"] == {"between_commands": frames}


def test_values_near_a_command_count_as_the_command(tmp_path, capsys):
    column = np.resize([-0.9, 0.95, 1.1, -1.0, 0.55], TOTAL)
    index(dataset_with(column, tmp_path), tmp_path / "out")
    assert "gripper" not in json.loads((tmp_path / "out/provenance.json").read_text())
    assert "note:" not in capsys.readouterr().out


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (mixed(0.9, 0), True),
        (np.where(np.arange(TOTAL) % 13, 0, mixed(0, 0)), True),
        (mixed(0, 0), False),
        (np.where(np.arange(TOTAL) < 2, [-1, 1] * 19 + [1], 1.0), False),  # almost always open
        (mixed(0.1, 0), False),
    ],
)
def test_the_planner_refuses_what_the_statistics_in_meta_prove(tmp_path, write, column, refused):
    folder = dataset_with(column, tmp_path, write)
    if refused:
        with pytest.raises(
            UserError, match=r"key\.gripper: .*the mean .* at least .*% of the frames are between"
        ):
            plan(folder)
        plan(folder, gripper=RELATIVE)
    else:
        plan(folder)


def test_the_bound_of_the_planner_is_below_the_share_of_the_frames():
    random = np.random.default_rng(1)
    values = GripperValues(open=1, close=-1)
    proven = 0
    for _ in range(300):
        column = random.choice([-1, 1, 0, random.uniform(-1.4, 1.4)], 500, p=random.dirichlet([1, 1, 3, 1]))
        share = (np.abs(column) < 0.5).mean()
        bound = gripper_commands._least_between(column.mean(), column.std(), values)
        assert bound <= share + 1e-9
        proven += bound > gripper_commands.MOST_BETWEEN
    assert proven > 20


@pytest.mark.parametrize(
    ("hold", "line"), [(1, "hold is 1, and so is open"), (-1, "hold is -1, and so is close")]
)
def test_hold_is_a_third_value(hold, line):
    with pytest.raises(ValueError, match=line):
        GripperValues(open=1, close=-1, hold=hold)


def test_two_values_have_no_third_key_in_the_settings():
    """Another key would rerun finished studies."""
    assert GripperValues(open=1, close=0).model_dump(mode="json") == {"open": 1.0, "close": 0.0}
    assert RELATIVE.model_dump(mode="json")["hold"] == 0
