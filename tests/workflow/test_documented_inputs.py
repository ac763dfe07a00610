"""Each documented command that makes demonstrations, and each configuration that reads them, on small inputs.

The configurations are the shipped ones (config.yaml, workflow/scales) and the blocks of the pages that set
`demonstrations.dataset`. Commands and settings are used exactly as they are written there.
"""

import copy
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from fast_yaml import load_yaml
from handmade_sets import FRONT, TOTAL, WRIST, actions, write_v30

from vlm4vla import cli
from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.benchmarks import BenchmarkConfig
from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.evaluation.simulators import (
    demonstrations,
    libero_demonstrations,
    metaworld_demonstrations,
)
from vlm4vla.evaluation.simulators.served_policies import read_statistics
from vlm4vla.stages.demonstrations_dataset import run
from vlm4vla.study.study import Study
from vlm4vla.workflow.preflight import check_datasets, open_study

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCALES = sorted((ROOT / "workflow/scales").glob("*.yaml"))
COMMAND = re.compile(r"vlm4vla ((?:convert|(?:libero|metaworld)-demonstrations) [^\n`#]+)")
COMMENTED = re.compile(r"^( +)# (demonstrations:|  (?:dataset|revision|camera|gripper):)", re.MULTILINE)
SIDE = 32
# Episodes of the sets that are recorded on a real simulator: tasks times initial states.
SCRIPTED = {"demonstrations/libero": 1 * 30, "demonstrations/metaworld": 10 * 50}


def documented_commands():
    texts = [path.read_text() for path in (*PAGES, ROOT / "config.yaml", *SCALES)]
    return sorted({found.strip() for text in texts for found in COMMAND.findall(text)})


def shipped():
    """The names of the shipped configurations, and their files in order."""
    config, paper = ROOT / "config.yaml", ROOT / "workflow/scales/paper.yaml"
    found = {"config": [config]}
    for scale in SCALES:
        below = [paper] if scale.stem in ("released", "2026") else []
        below += [scale.with_stem("libero")] if scale.stem.startswith("libero-") else []
        found[scale.stem] = [config, *below, scale]
    found.pop("real")  # over metaworld; its backbone is a folder that `make real-backbone` makes
    return found


def fragments():
    """The YAML blocks of the pages that name a dataset of demonstrations; commented keys are filled in."""
    found = {}
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            layer = load_yaml(COMMENTED.sub(r"\1\2", block))
            benchmarks = layer.get("benchmarks") if isinstance(layer, dict) else None
            for settings in (benchmarks or {}).values():
                if "dataset" in settings.get("demonstrations", {}):
                    found[f"{page.stem}-{number}"] = layer
    return found


def merged(base, layer):
    result = copy.deepcopy(base)
    for key, value in layer.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result


def raw_of(files):
    result = {}
    for path in files:
        result = merged(result, load_yaml(path.read_text()))
    return result


def configurations():
    """All raw configurations: shipped ones, and each block of a page over those that it may override."""
    found = {name: raw_of(files) for name, files in shipped().items()}
    for name, layer in fragments().items():
        for base in ("paper",) if name.startswith("paper-scale") else ("config", "paper"):
            found[f"{name} over {base}"] = merged(found[base], layer)
    return found


def image(number):
    """An image with a different colour in each corner; the level of blue encodes `number`."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] * 200 // (SIDE - 1)
    return np.stack([rows, columns, np.full_like(rows, 4 * number)], -1).astype(np.uint8)


def motion(count, seed, opens, closes):
    """Actions (count, 7), and whether each of them opens the gripper."""
    random = np.random.default_rng(seed)
    values = random.uniform(-0.9, 0.9, (count, 7))
    opening = np.arange(count) // 4 % 2 == 0
    values[:, 6] = np.where(opening, opens, closes)
    return values, opening


LENGTHS = (21, 19)
TEXTS = ("turn on the stove and put the moka pot on it", "put both moka pots on the stove")
SCENES = ("KITCHEN_SCENE3_", "KITCHEN_SCENE8_")


def raw_calvin(folder):
    split = folder / "training"
    (split / "lang_annotations").mkdir(parents=True)
    step, spans = 0, []
    for episode, length in enumerate(LENGTHS):
        values, _ = motion(length, episode, 1, -1)
        spans.append((step, step + length - 1))
        for number in range(length):
            np.savez(
                split / f"episode_{step:07d}.npz",
                rgb_static=image(number),
                rel_actions=values[number],
                robot_obs=np.random.default_rng(step).normal(size=15),
            )
            step += 1
    said = {"language": {"ann": [*TEXTS], "task": ["x", "y"]}, "info": {"episodes": [], "indx": spans}}
    np.save(split / "lang_annotations/auto_lang_ann.npy", said, allow_pickle=True)


def raw_libero(folder):
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True)
    for episode, (length, text, scene) in enumerate(zip(LENGTHS, TEXTS, SCENES, strict=True)):
        name = scene + text.replace(" ", "_") + "_demo.hdf5"
        with h5py.File(folder / name, "w") as file:
            data = file.create_group("data")
            data.attrs["problem_info"] = json.dumps({"language_instruction": text})
            demo = data.create_group("demo_0")
            demo["actions"] = motion(length, episode, -1, 1)[0]
            demo["obs/agentview_rgb"] = np.stack([image(n)[::-1, ::-1] for n in range(length)])
            demo["obs/ee_states"] = np.random.default_rng(episode).normal(size=(length, 6))
            demo["obs/gripper_states"] = np.zeros((length, 2))


def recorded(simulator, scripted, task, state, *, size, max_steps, **_):
    """Stand in for an episode on the real simulator, which tests have no room for."""
    values = motion(20, task, -1, 1)[0].astype(np.float32)
    pictures = np.stack([np.full((size, size, 3), n, np.uint8) for n in range(20)])
    states = np.zeros((20, len(scripted.states)))
    return demonstrations.RecordedEpisode(f"task {task}", pictures, states, values)


RAW = {"calvin": raw_calvin, "libero": raw_libero}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder in which every documented command was run; the raw datasets lie where the commands say."""
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulator = SimpleNamespace(cleanup=lambda: None)
        for own in (libero_demonstrations, metaworld_demonstrations):
            patch.setattr(own, "open_simulator", lambda **_: simulator)
        patch.setattr(demonstrations, "record_episode", recorded)
        for command in documented_commands():
            words = shlex.split(command)
            if words[0] == "convert" and not Path(words[2]).exists():
                RAW[words[1]](Path(words[2]))
            if words[0].endswith("-demonstrations"):
                words += ["--size", str(SIDE)]  # 224 pixels would take a minute
            assert cli.main(words) == 0, command
    return folder


def published_layout(folder, camera, wanted):
    """A dataset with the features of IPEC-COMMUNITY's on the hub: gripper 1 open and 0 closed."""
    write_v30(folder, gripper=(1, 0))
    info = folder / "meta/info.json"
    info.write_text(info.read_text().replace(FRONT, camera))
    (folder / "videos" / FRONT).rename(folder / "videos" / camera)
    episodes = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(episodes)
    pq.write_table(table.rename_columns([n.replace(FRONT, camera) for n in table.column_names]), episodes)
    assert wanted["dataset"].startswith("IPEC-COMMUNITY/")
    return wanted | {"dataset": str(folder), "revision": None}


def settings_of(study, benchmark):
    wildcards = SimpleNamespace(benchmark=benchmark)
    return json.loads(study.demonstrations_settings(wildcards))


def check_stage(settings, config: BenchmarkConfig, output):
    """Run the stage, and check that a policy would learn from what it writes."""
    run(DemonstrationsSettings.model_validate(settings), output=output)
    index, benchmark = open_index(output), settings["benchmark"]
    statistics = read_statistics(output, config.normalisation, benchmark)
    assert isinstance(statistics, Statistics)
    pose, targets = statistics.normalise(index.actions)
    assert (np.ptp(pose, axis=0) > 1).all(), "a motion is constant after normalisation"
    own = gripper(benchmark)
    assert set(np.unique(index.actions[:, 6])) == {own.open, own.close}
    opens = targets == (1 if own.open > own.close else 0)
    return index, opens


def test_all_commands_that_make_demonstrations_are_documented_here():
    """Another kind of command, or of raw dataset, needs an input in this file."""
    kinds = {tuple(command.split()[:2]) for command in documented_commands()}
    assert {kind for word, kind in kinds if word == "convert"} == set(RAW)
    assert {word for word, _ in kinds} == {"convert", "libero-demonstrations"}
    assert len(fragments()) >= 3 and {"config", "smoke", "paper"} <= shipped().keys()


def test_layers_are_merged_as_snakemake_merges_them():
    for files in shipped().values():
        assert load_config(raw_of(files)) == read_layers(files)


@pytest.mark.parametrize("name", configurations())
def test_every_configuration_reads_what_the_commands_write(inputs, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(inputs)
    raw = configurations()[name] | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}
    study = open_study(raw, planned=True)
    assert ".demonstrations" not in capsys.readouterr().err  # no note on a dataset
    config = study.config
    check_datasets(config, config.benchmarks)
    for benchmark, own in config.benchmarks.items():
        wanted = own.demonstrations
        if wanted.dataset is None or wanted.revision is not None:
            continue
        assert any(command.split("--output ")[1] == wanted.dataset for command in documented_commands())
        index, opens = check_stage(settings_of(study, benchmark), own, tmp_path / benchmark)
        if wanted.dataset in SCRIPTED:
            assert len(index) == SCRIPTED[wanted.dataset] * 20
            continue
        values, opening = zip(
            *(motion(n, seed, gripper(benchmark).open, gripper(benchmark).close)
              for seed, n in enumerate(LENGTHS)), strict=True)  # fmt: skip
        np.testing.assert_allclose(index.actions, np.concatenate(values), atol=1e-6)
        np.testing.assert_array_equal(opens, np.concatenate(opening))
        assert set(index.tasks) == set(TEXTS) and index.fps == (30 if benchmark == "calvin" else 20)
        for row, number in ((0, 0), (20, 20), (21, 0), (39, 18)):
            away = np.abs(FramePictures(index).original(row).astype(int) - image(number)).mean()
            assert away < 6  # the losses of the video


HUB = [
    (name, benchmark)
    for name, raw in configurations().items()
    for benchmark, own in raw["benchmarks"].items()
    if str(own["demonstrations"].get("dataset")).startswith("IPEC-COMMUNITY/")
]


@pytest.mark.parametrize(("name", "benchmark"), HUB)
def test_the_datasets_of_the_hub_fit_their_settings(tmp_path, name, benchmark):
    study = Study(load_config(configurations()[name]))
    settings = settings_of(study, benchmark)
    wanted = settings["demonstrations"]
    assert wanted["camera"] not in (FRONT, WRIST)
    settings["demonstrations"] = published_layout(tmp_path / "set", wanted["camera"], wanted)
    index, opens = check_stage(settings, study.config.benchmarks[benchmark], tmp_path / "out")
    np.testing.assert_array_equal(opens, actions()[:, 6] > 0)
    np.testing.assert_array_equal(index.actions[:, :6], actions()[:, :6])
    assert len(index) == TOTAL


def test_random_actions_read_the_bounds_of_an_index(inputs, tmp_path, monkeypatch):
    """The floor on a real simulator has no recorded dataset, only the index of another one."""
    monkeypatch.chdir(inputs)
    study = Study(load_config(configurations()["paper"]))
    settings = settings_of(study, "calvin")
    run(DemonstrationsSettings.model_validate(settings), output=tmp_path)
    found = read_statistics(tmp_path, "range", "calvin")
    np.testing.assert_allclose([found.low, found.high], [[-0.65] * 6, [0.65] * 6], rtol=1e-6)
