"""The checks before any job starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fast_yaml import load_yaml
from pi0_models import STATISTICS, write_pi0
from safetensors.numpy import save_file
from tiny_backbones import make

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.preflight import check_gpus, check_results, open_study
from vlm4vla.workflow.requirements import requirements_of

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def test_valid_configuration(raw):
    study = open_study(raw, ["all_tables", f"{raw['results']}/embedded/tables/main.csv"])
    assert study.config.study == "embedded"


def test_family_without_adapter(raw):
    raw["backbones"]["kosmos-2"]["family"] = "kosmos2"
    with pytest.raises(UserError, match=r"backbones.kosmos-2.family: unknown family .* 'kosmos-2'"):
        open_study(raw)


def test_expert_on_a_family_without_expert_heads(raw):
    raw["experts"]["pi0"]["backbone"] = "kosmos-2"
    with pytest.raises(UserError, match=r"experts\.pi0\.backbone: 'kosmos-2' has the family 'kosmos-2'"):
        open_study(raw)


def test_expert_as_a_target(raw):
    path = f"{raw['results']}/embedded/rollouts/{{}}/none/full/bridge/seed0/episodes.parquet"
    assert open_study(raw, [path.format("pi0")])
    with pytest.raises(UserError, match="unknown backbone 'pi1'"):
        open_study(raw, [path.format("pi1")])
    with pytest.raises(UserError, match="unknown backbone 'pi0'"):
        open_study(raw, [f"{raw['results']}/embedded/backbones/pi0/provenance.json"])


def test_target_of_another_study(raw):
    with pytest.raises(UserError, match=r"'embedded' makes files below .*--configfile"):
        open_study(raw, ["results/mine/cells/qwen3-vl-2b/none/full/bridge.md"])


def test_cell_without_file_ending(raw):
    target = f"{raw['results']}/embedded/cells/qwen3-vl-2b/none/full/bridge"
    with pytest.raises(UserError, match=r"did you mean '.*/bridge\.md'"):
        open_study(raw, [target])
    assert open_study(raw, [f"{target}.tex"])


def test_table_that_is_not_in_the_configuration(raw):
    del raw["tables"]["freeze"]
    with pytest.raises(UserError, match=r"has no such table: add tables.freeze"):
        open_study(raw, ["table_freeze"])


def test_results_in_a_file(raw, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"results: folder .* is not writable"):
        open_study(raw | {"results": str(tmp_path / "file" / "results")})


def test_disk_without_free_space(raw):
    study = open_study(raw)
    tight = study.config.model_copy(update={"minimum_free_gb": 1e9})
    needed = r"results: the workflow \(minimum_free_gb\) needs 1000000000\.0 GB, and the disk of .* GB free"
    with pytest.raises(UserError, match=needed):
        check_results(tight)


def test_published_study_needs_nothing_for_training(raw):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "nothing"}
    raw["minimum_free_gb"] = 1e9
    assert open_study(raw, ["published"]).published_study()
    with pytest.raises(UserError, match="minimum_free_gb"):
        open_study(raw, ["published", "all_tables"])


def test_name_of_the_published_study_is_reserved(raw):
    with pytest.raises(UserError, match=r"study: 'published' is reserved for the paper's numbers"):
        open_study(raw | {"study": "published"})


def test_missing_published_scores(raw):
    with pytest.raises(UserError, match=r"published_scores: no file 'no.csv'"):
        open_study(raw | {"published_scores": "no.csv"})


def test_published_scores_are_read_before_a_run(raw, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("model,score\nkosmos-2,62*\n")
    with pytest.raises(UserError, match=r"scores.csv: line 2: score '62\*' of 'kosmos-2' is not a number"):
        open_study(raw | {"published_scores": str(path)})


def test_hub_checkpoint_is_not_checked_on_disk(raw):
    raw["backbones"]["real"] = {
        "family": "kosmos-2",
        "parameters_b": 1.7,
        "checkpoint": "owner/name",
        "revision": "0123abc" + "0" * 33,
    }
    assert open_study(raw).config.backbones["real"].revision.startswith("0123abc")


@pytest.mark.parametrize("revision", ["", "main", "0123abc", "../../x", "0" * 41])
def test_a_checkpoint_of_the_hub_needs_a_commit(raw, revision):
    """The stage would refuse it too, but only after the jobs before it."""
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "lab/model"}
    raw["backbones"]["real"]["revision"] = revision
    with pytest.raises(UserError, match=r"backbones.real.revision: .* is not a commit") as error:
        open_study(raw)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["lab model", "a/b/c", "../x", "lab/", "-x/y", "x" * 200])
def test_a_name_that_the_hub_cannot_have(raw, name):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": name}
    raw["backbones"]["real"]["revision"] = "0" * 40
    with pytest.raises(UserError, match=r"backbones.real.checkpoint: .* is not a name on the hub"):
        open_study(raw)


@pytest.mark.parametrize("make", ["file", "file/x", "link", "x" * 300])
def test_results_that_cannot_be_a_folder_stop_a_dry_run_too(raw, tmp_path, make):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    raw["results"] = str(tmp_path / make)
    with pytest.raises(UserError, match=r"^results: .*: write another folder"):
        open_study(raw, planned=True)


def test_results_may_be_a_link_or_not_be_there_yet(raw, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for folder in (tmp_path / "link", tmp_path / "new" / "folder", f"{tmp_path}/real/"):
        raw["results"] = str(folder)
        open_study(raw, ["published"], planned=True)


def test_trackers_of_the_planned_trainings(raw):
    execution = {"trackers": ["wandb"]}
    raw["variants"]["full"]["training"] = raw["vla"] | {"execution": execution}
    study = open_study(raw, ["table_main"])
    assert requirements_of(study, ["table_main"]).trackers == {"wandb"}
    assert requirements_of(study, [study.backbone_path("kosmos-2")]).trackers == frozenset()


@pytest.mark.parametrize("name", ["pyproject.toml", "nothing"])
def test_checkpoint_that_is_not_a_folder(raw, name):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": name}
    with pytest.raises(UserError, match=r"backbones.real.checkpoint: folder .* does not exist"):
        open_study(raw)


def test_checkpoint_of_another_family(raw, tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": str(tmp_path)}
    with pytest.raises(UserError, match=r"backbones\.real\.family: 'kosmos-2', but .* is a 'qwen2_5_vl'"):
        open_study(raw)
    raw["backbones"]["real"]["family"] = "qwen2_5_vl"
    with pytest.raises(UserError, match=r"backbones\.real\.checkpoint: .* tokenizer_config\.json is missing"):
        open_study(raw)


FAULTS = {
    "no tokenizer": ("tokenizer.json is missing", lambda folder: (folder / "tokenizer.json").unlink()),
    "no processor": (
        "preprocessor_config.json is missing",
        lambda folder: (folder / "preprocessor_config.json").unlink(),
    ),
    "a pointer": (
        "tokenizer.json: a Git LFS pointer",
        lambda folder: (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1"),
    ),
    "quantised": (
        "a quantised checkpoint",
        lambda folder: (folder / "quantize_config.json").write_text("{}"),
    ),
}


@pytest.fixture
def checkpoint(tmp_path):
    make("qwen2_5_vl").save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("planned", [False, True])
def test_a_checkpoint_that_is_not_whole_is_refused_before_any_job(raw, checkpoint, fault, planned):
    raw["backbones"]["real"] = {"family": "qwen2_5_vl", "parameters_b": 2, "checkpoint": str(checkpoint)}
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": str(checkpoint)}
    open_study(raw, planned=planned)
    message, spoil = FAULTS[fault]
    spoil(checkpoint)
    with pytest.raises(UserError, match=rf"backbones\.real\.checkpoint: .*{message}"):
        open_study(raw, planned=planned)
    del raw["backbones"]["real"]
    with pytest.raises(UserError, match=rf"tasks\.robobrain2\.checkpoint: .*{message}"):
        open_study(raw, planned=planned)


def test_a_damaged_checkpoint_in_the_cache_is_refused_before_any_job(raw, checkpoint, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub" / "models--lab--model" / "snapshots" / commit
    shutil.copytree(checkpoint, snapshot)
    named = {"checkpoint": "lab/model", "revision": commit}
    raw["backbones"]["real"] = {"family": "qwen2_5_vl", "parameters_b": 2} | named
    raw["auxiliary"]["tasks"]["robobrain2"] = named
    open_study(raw)
    (snapshot / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"backbones\.real\.checkpoint: .*tokenizer\.json: not a tokenizer"):
        open_study(raw)
    del raw["backbones"]["real"]
    with pytest.raises(UserError, match=r"robobrain2\.checkpoint: .*tokenizer\.json: not a tokenizer"):
        open_study(raw)
    (snapshot / "tokenizer.json").unlink()  # a missing file can still be downloaded
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    open_study(raw)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"robobrain2\.checkpoint: .*tokenizer\.json is missing"):
        open_study(raw)


@pytest.fixture
def released(raw, tmp_path):
    """The folder of a pi0 that acts on Bridge."""
    (tmp_path / "pi0").mkdir()
    folder = write_pi0(tmp_path / "pi0")
    raw["benchmarks"]["bridge"]["released_policies"] = {"pi0": {"checkpoint": str(folder)}}
    return folder


def test_a_released_policy_is_checked_before_any_job(raw, released):
    key = r"benchmarks\.bridge\.released_policies\.pi0"
    assert open_study(raw, ["table_main"])
    policy = raw["benchmarks"]["bridge"]["released_policies"]["pi0"]
    policy["statistics"] = STATISTICS | {"state_mean": [0.0] * 7, "state_std": [1.0] * 7}
    with pytest.raises(
        UserError, match=rf"{key}\.statistics: a state of 7 numbers, but the robot's .* has 8"
    ):
        open_study(raw)
    policy.pop("statistics")
    policy["execution_horizon"] = 5
    with pytest.raises(UserError, match=rf"{key}\.execution_horizon: 5 is above the 4 actions"):
        open_study(raw)
    policy.pop("execution_horizon")
    for name, expected in (
        ("processor_config.json", "image processor"),
        ("tokenizer.json", "tokenizer.json"),
    ):
        kept = (released / name).read_bytes()
        (released / name).unlink()
        with pytest.raises(UserError, match=rf"{key}\.checkpoint: .*{expected}"):
            open_study(raw, planned=True)
        (released / name).write_bytes(kept)
    make("paligemma").save(released)
    with pytest.raises(UserError, match=rf"{key}\.checkpoint: .* is a 'paligemma', but only 'pi0' acts"):
        open_study(raw)


def test_a_released_policy_of_the_hub_needs_a_commit(raw):
    policy = {"checkpoint": "someone/pi0"}
    raw["benchmarks"]["bridge"]["released_policies"] = {"pi0": policy}
    with pytest.raises(UserError, match="a hub name and its `revision`"):
        open_study(raw)
    policy["revision"] = "main"
    with pytest.raises(UserError, match=r"released_policies\.pi0\.revision: 'main' is not a commit"):
        open_study(raw)
    policy["revision"] = "0" * 40
    assert open_study(raw)  # its rollout downloads and checks it


@pytest.mark.parametrize("present", [(), ("tokenizer.json",)])
def test_universal_tokenizer_without_its_files(raw, tmp_path, present):
    for name in present:
        (tmp_path / name).write_text("{}")
    raw["auxiliary"]["fast"]["tokenizer"] = str(tmp_path)
    missing = "processor_config" if present else "tokenizer"
    with pytest.raises(
        UserError, match=rf"auxiliary\.fast\.tokenizer: .*{missing}\.json' is missing"
    ) as error:
        open_study(raw)
    assert "\n" not in str(error.value)


def test_universal_tokenizer_with_its_files(raw, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "processor_config.json").write_text('{"scale": 10, "vocab_size": 2048, "min_token": -354}')
    raw["auxiliary"]["fast"]["tokenizer"] = str(tmp_path)
    assert open_study(raw).config.auxiliary.fast.tokenizer == str(tmp_path)


@pytest.mark.parametrize(("needed", "offered"), [(0, None), (0, 0), (1, 1), (8, 8), (4, 8)])
def test_enough_gpus(tmp_path, capsys, needed, offered):
    (tmp_path / "nvidia0").touch()
    check_gpus(needed, offered, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("needed", "offered"), [(8, 1), (1, 0)])
def test_too_few_gpus(tmp_path, needed, offered):
    with pytest.raises(UserError, match=rf"--resources gpu={offered}: .* needs {needed} GPUs") as error:
        check_gpus(needed, offered, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "nvidia0", "kfd", "nvidiactl"])
def test_a_machine_without_gpu_causes_a_note(tmp_path, capsys, name):
    if name:
        (tmp_path / name).touch()
    check_gpus(1, 1, tmp_path)
    assert ("no GPU found" in capsys.readouterr().err) == (name in ("", "nvidiactl"))


def part_of_a_dataset(raw, folder, remove):
    """Let CALVIN's demonstrations be a v3.0 dataset of three tables that lacks the files `remove`."""
    import pyarrow.parquet as pq
    from handmade_sets import FRONT, LENGTHS, TOTAL, write_v30

    write_v30(folder, files=((0, 1), (2,), (3, 4)))
    whole = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(whole)
    pq.write_table(table.slice(0, 3), whole)
    pq.write_table(table.slice(3), whole.with_name("file-001.parquet"))
    info = json.loads((folder / "meta/info.json").read_text())
    totals = {"total_episodes": len(LENGTHS), "total_frames": TOTAL}
    (folder / "meta/info.json").write_text(json.dumps(info | totals))
    for name in remove:
        (folder / name).unlink()
    benchmark = raw["benchmarks"]["calvin"]
    benchmark["demonstrations"] = {"dataset": str(folder), "camera": FRONT}
    return raw


@pytest.mark.parametrize(
    ("remove", "line"),
    [
        (
            ("data/chunk-000/file-002.parquet", "meta/episodes/chunk-000/file-001.parquet"),
            "says 5 episodes and 39 frames, but meta/ has 3 episodes and 24 frames",
        ),
        (("data/chunk-000/file-002.parquet",), "has 24 frames in .*, but the episodes in meta/ have 39"),
        (("videos/observation.images.front/chunk-000/file-001.mp4",), "file-001.mp4: not found"),
    ],
)
def test_a_part_of_a_dataset_is_refused_before_any_job(raw, tmp_path, capsys, remove, line):
    part_of_a_dataset(raw, tmp_path / "set", remove)
    with pytest.raises(UserError, match=line):
        open_study(raw)
    open_study(raw, planned=True)  # a dry run only says it
    note = capsys.readouterr().err
    assert "a run would stop with this error" in note and len(note.strip().splitlines()) == 1


def test_a_whole_dataset_passes_the_checks_before_a_run(raw, tmp_path):
    open_study(part_of_a_dataset(raw, tmp_path / "set", ()))


def test_half_a_snapshot_in_the_cache_is_refused_without_the_hub(raw, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "cache/datasets--lab--new/snapshots" / commit
    part_of_a_dataset(raw, snapshot, ())
    raw["benchmarks"]["calvin"]["demonstrations"] |= {"dataset": "lab/new", "revision": commit}
    open_study(raw)
    for name in ("data/chunk-000/file-002.parquet", "meta/episodes/chunk-000/file-001.parquet"):
        (snapshot / name).unlink()
    with pytest.raises(UserError, match=r"says 5 episodes and 39 frames, but .*missing: episodes 3 to 4"):
        open_study(raw)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    open_study(raw)  # the stage can download the rest
