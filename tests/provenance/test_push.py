"""`vlm4vla push` with huggingface_hub's own client, to a hub on this machine that takes uploads."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import DatasetCard, ModelCard
from pushed_policy import write_policy, write_table
from small_inputs import write_demonstrations
from upload_hub import TOKEN, Repository, UploadHub

from vlm4vla import cli
from vlm4vla.core.artefacts import file_hash, files_of, write_json
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.policies.policy import Policy

LOAD = """
import sys
import numpy as np
from transformers import AutoProcessor
from vlm4vla.policies.loading import load_policy
policy = load_policy(sys.argv[1], device="cpu")
np.save(sys.argv[2], policy.act(np.full((30, 50, 3), 90, np.uint8), "pick up the red block"))
print(type(AutoProcessor.from_pretrained(sys.argv[1])).__name__)
"""

LOAD_FAILS = """
import sys
from vlm4vla.core.errors import UserError
from vlm4vla.policies.loading import load_policy
for text in sys.argv[1:]:
    name, _, revision = text.partition("@")
    try:
        load_policy(name, revision=revision or None)
    except UserError as error:
        print(error)
"""


@pytest.fixture
def hub():
    served = UploadHub()
    yield served
    served.close()


@pytest.fixture
def start(hub, tmp_path):
    """Start Python in its own process, because huggingface_hub reads its settings at import."""

    def process(*arguments: str, **environment: str) -> subprocess.Popen:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        own = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        environment = {key: value for key, value in (clean | own | environment).items() if value}
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return process


@pytest.fixture
def push(start):
    def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
        process = start("-m", "vlm4vla.cli", "push", *map(str, arguments), **environment)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return run


def refusal(answer) -> str:
    status, _, err = answer
    lines = err.strip().splitlines()
    assert status == 1 and lines[-1].startswith("error: ") and "Traceback" not in err, err
    return lines[-1]


@pytest.fixture
def policy(tmp_path):
    return write_policy(tmp_path / "results" / "study")


SENT = {
    "README.md", "policy.json", "policy.safetensors", "provenance.json", "train.jsonl",
    "processor_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    *(f"backbone/{name}" for name in ("config.json", "generation_config.json", "model.safetensors")),
    *(f"backbone/{name}" for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")),
}  # fmt: skip


def test_a_policy_arrives_and_acts_as_the_one_at_home(hub, push, start, policy, tmp_path):
    write_table(tmp_path / "results" / "study")
    status, out, err = push(policy, "me/my-policy")
    assert status == 0, err
    sent = hub.repositories["models", "me/my-policy"]
    assert sent.private and f"sent: {hub.url}/me/my-policy" in out
    assert set(sent.files) == SENT
    for name in SENT - {"README.md"}:
        assert sent.files[name] == (policy / name).read_bytes()
    assert (policy / "README.md").read_text() == "an older card\n"  # the study's folder does not change
    card = ModelCard(sent.files["README.md"].decode())
    (result,) = card.data.eval_results
    assert result.metric_value == 0.52 and result.metric_args["ci_low"] == 0.42
    assert "| success_rate | 52.0 % | 42.0 % to 61.0 % | 96 |" in card.text
    assert 'load_policy("me/my-policy")' in card.text
    process = start("-c", LOAD, "me/my-policy", str(tmp_path / "actions.npy"))
    found, err = process.communicate(timeout=300)
    assert found.split() == ["PaliGemmaProcessor"], err
    image = np.full((30, 50, 3), 90, np.uint8)
    expected = Policy.load(policy).act(image, "pick up the red block")
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), expected, atol=1e-6)


@pytest.mark.exhaustive
def test_policies_that_cannot_be_loaded_are_one_line(hub, start, tmp_path):
    hub.repositories["models", "me/other"] = Repository(private=False, files={"README.md": b"no policy"})
    names = ["me/none", "me/other@v9", "me/other", "/no/folder", ".@main"]
    out, err = start("-c", LOAD_FAILS, *names).communicate(timeout=300)
    lines = out.splitlines()
    assert len(lines) == 5, err
    assert "policy 'me/none': no such folder, and not on the hub, or private" in lines[0]
    assert "policy 'me/other': has no revision 'v9': write a commit, tag or branch" in lines[1]
    assert "policy 'me/other': has no policy.json" in lines[2]
    assert "no such folder: write the folder of a policy, or its name on the hub" in lines[3]
    assert "a folder, which has no revision" in lines[4]
    out, err = start(
        "-c", LOAD_FAILS, "me/other", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "new")
    ).communicate()
    assert "policy 'me/other': no such folder, HF_HUB_OFFLINE is set, and the cache" in out, err


def test_a_second_push_sends_only_what_has_changed(hub, push, policy, tmp_path):
    assert push(policy, "my-policy")[0] == 0  # a name without an owner is one of the token's owner
    sent = hub.repositories["models", "me/my-policy"]
    sent.files |= {"backbone/model-00002-of-00002.safetensors": b"of an earlier policy", "notes.md": b"mine"}
    before = list(hub.puts)
    write_policy(tmp_path / "results" / "study", seed=1)
    assert push(policy, "my-policy")[0] == 0
    assert [subject for subject, _ in sent.commits] == ["Upload a policy"] * 2
    assert set(sent.files) == SENT | {"notes.md"}  # files of the user's own stay
    assert "backbone/config.json" not in sent.commits[1][1]
    assert (
        sent.files["backbone/model.safetensors"] == (policy / "backbone" / "model.safetensors").read_bytes()
    )
    after = hub.puts[len(before) :]
    assert after and not set(after) & set(before)


def test_a_killed_push_is_resumed(hub, push, start, policy):
    hub.hanging = 1
    process = start("-m", "vlm4vla.cli", "push", str(policy), "me/my-policy")
    assert hub.hung.wait(200)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not hub.repositories["models", "me/my-policy"].commits
    first = list(hub.puts)
    hub.hanging = None
    assert push(policy, "me/my-policy")[0] == 0
    assert set(hub.repositories["models", "me/my-policy"].files) == SENT
    assert len(first) == 1 and hub.puts.count(first[0]) == 1


def test_the_clients_pipeline_with_xet(hub, push, policy):
    """With hf_xet the client sends files in another way; this hub stores all of them in Git."""
    hub.all_regular = True
    status, _, err = push(policy, "me/my-policy", HF_HUB_DISABLE_XET="")
    assert status == 0, err
    assert set(hub.repositories["models", "me/my-policy"].files) == SENT and not hub.puts


def test_a_dry_run_shows_each_file_and_needs_no_hub(hub, push, policy):
    status, out, err = push(
        policy, "me/my-policy", "--dry-run", HF_TOKEN="", HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert status == 0 and not hub.requests, err
    lines = out.splitlines()
    shown = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in lines[: len(SENT)]}
    assert set(shown) == SENT
    assert shown["policy.safetensors"] == (policy / "policy.safetensors").stat().st_size
    assert f"policy: {len(SENT)} files" in lines[-2] and "the private model repository" in lines[-2]
    assert lines[-1] == "dry run: nothing was sent"


def test_nothing_unlisted_or_hidden_goes_up(hub, push, policy, tmp_path):
    (policy / "checkpoints").mkdir(exist_ok=True)
    extra = (".env", "notes.txt", "passwords.json", "checkpoints/a.json", "backbone/mine.md", "backbone/.key")
    for name in extra:
        (policy / name).write_text("secret")
    status, out, err = push(policy, "me/my-policy")
    assert status == 0, err
    assert set(hub.repositories["models", "me/my-policy"].files) == SENT
    assert "left out, because a policy has no such files: backbone/mine.md, notes.txt, passwords.json" in out
    folder = write_demonstrations(tmp_path / "demonstrations")
    for name in ("notes.txt", "data/own.csv", "meta/.hidden.json", "other/a.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    status, out, err = push(folder, "me/demos")
    assert status == 0, err
    sent = hub.repositories["datasets", "me/demos"].files
    assert all(b"secret" not in data for data in sent.values())
    assert set(sent) - {"README.md"} == {
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet", "provenance.json",
    }  # fmt: skip
    assert "left out, because a demonstration set has no such files: data/own.csv, notes.txt" in out


def test_demonstrations_arrive_as_a_dataset_that_lerobot_finds(hub, push, tmp_path):
    folder = write_demonstrations(tmp_path / "demonstrations")
    write_json(
        folder / "provenance.json",
        {
            "stage": "demonstrations",
            "settings": {"benchmark": "bridge", "demonstrations": {"episodes": 6}},
            "files": {str(p.relative_to(folder)): file_hash(p) for p in files_of(folder / "data", "**/*")},
        },
    )
    status, _, err = push(folder, "me/demos", "--public")
    assert status == 0, err
    sent = hub.repositories["datasets", "me/demos"]
    assert not sent.private and sent.tags == {"v3.0": sent.sha}
    card = DatasetCard(sent.files["README.md"].decode())
    assert card.data.license == "apache-2.0" and card.data.task_categories == ["robotics"]
    assert "| episodes | 6 |" in card.text
    for name, data in sent.files.items():
        (tmp_path / "again" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / name).write_bytes(data)
    frames, expected = (read_demonstrations(tmp_path / name) for name in ("again", "demonstrations"))
    np.testing.assert_array_equal(frames.images, expected.images)
    assert push(folder, "me/demos", "--public")[0] == 0  # the tag moves
    assert sent.tags == {"v3.0": sent.sha}


def test_a_packed_study_arrives_as_one_file_or_unpacked(hub, push, packed, tmp_path, capsys):
    status, _, err = push(packed, "me/study", "--licence", "cc-by-4.0")
    assert status == 0, err
    sent = hub.repositories["datasets", "me/study"]
    assert set(sent.files) == {"README.md", "study.zip"}
    assert sent.files["study.zip"] == packed.read_bytes()
    assert DatasetCard(sent.files["README.md"].decode()).data.license == "cc-by-4.0"
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    assert push(tmp_path / "unpacked", "me/unpacked")[0] == 0
    for name, data in hub.repositories["datasets", "me/unpacked"].files.items():
        (tmp_path / "again" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / name).write_bytes(data)
    capsys.readouterr()
    assert cli.main(["check", str(tmp_path / "again")]) == 0


def test_the_licence_of_a_packed_study_is_that_of_its_metadata(packed, capsys):
    assert cli.main(["push", str(packed), "me/study", "--dry-run"]) == 0
    from vlm4vla.provenance.push_parcels import parcel

    text = parcel(packed, "me/study", None).texts["README.md"]
    assert DatasetCard(text).data.license == "apache-2.0" and "vlm4vla check study.zip" in text


def test_no_token_and_wrong_tokens(hub, push, policy):
    message = refusal(push(policy, "me/my-policy", HF_TOKEN=""))
    assert message == (
        f"error: no token for {hub.url}: run `hf auth login`, or set HF_TOKEN to a token with write access"
    )
    assert not hub.requests
    assert "the hub does not accept the token" in refusal(push(policy, "me/my-policy", HF_TOKEN="other"))
    hub.read_only = True
    assert "the token has no write access to it" in refusal(push(policy, "me/my-policy"))
    assert not hub.repositories and not hub.puts


def test_a_hub_that_cannot_be_reached(hub, push, policy):
    assert "HF_HUB_OFFLINE is set" in refusal(push(policy, "me/my-policy", HF_HUB_OFFLINE="1"))
    hub.close()
    message = refusal(push(policy, "me/my-policy"))
    assert "cannot be sent" in message and "run the same command again" in message


def test_nothing_becomes_public_by_accident(hub, push, policy):
    assert push(policy, "me/open", "--public")[0] == 0
    assert not hub.repositories["models", "me/open"].private
    assert "exists and is public: write --public" in refusal(push(policy, "me/open"))
    assert push(policy, "me/own")[0] == 0
    assert "exists and is private: leave --public out" in refusal(push(policy, "me/own", "--public"))
    assert all(len(each.commits) == 1 for each in hub.repositories.values())


# Folders that cannot be sent. No process of its own is needed, because the hub is not asked.


def refused(capsys, *arguments) -> str:
    assert cli.main(["push", *map(str, arguments), "--dry-run"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


def test_other_folders_are_refused_in_one_line(tmp_path, policy, capsys):
    (tmp_path / "empty").mkdir()
    assert "nothing to push: write the folder of a policy" in refused(capsys, tmp_path / "empty", "me/x")
    assert "no such folder" in refused(capsys, tmp_path / "none", "me/x")
    (tmp_path / "text.zip").write_text("no zip file")
    assert "no such folder" in refused(capsys, tmp_path / "text.zip", "me/x")
    study = tmp_path / "results" / "study"
    assert "a results folder: run `vlm4vla pack" in refused(capsys, study, "me/x")
    assert "nothing to push" in refused(capsys, policy / "backbone", "me/x")
    (tmp_path / "empty" / "index.json").write_text("{}")
    assert "an index of a dataset that is elsewhere" in refused(capsys, tmp_path / "empty", "me/x")


@pytest.mark.parametrize("name", ["a/b/c", "me/-x", "me/a..b", "me/x.git", "", "me/a b"])
def test_names_that_the_hub_does_not_have(name, policy, capsys):
    assert "not a name on the hub" in refused(capsys, policy, name)


def test_unfinished_and_damaged_policies_are_refused(policy, capsys):
    record = json.loads((policy / "provenance.json").read_text())
    (policy / "provenance.json").unlink()
    assert "not finished, it has no provenance.json" in refused(capsys, policy, "me/x")
    write_json(policy / "provenance.json", record | {"stage": "backbone"})
    assert "not the record of a policy" in refused(capsys, policy, "me/x")
    write_json(policy / "provenance.json", record)
    weights = policy / "backbone" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "model.safetensors: changed since it was written" in refused(capsys, policy, "me/x")
    weights.unlink()
    assert "model.safetensors: missing" in refused(capsys, policy, "me/x")
    weights.write_bytes(whole)
    (policy / "notes.txt").symlink_to("/etc/hostname")
    assert "notes.txt: a link, not a file" in refused(capsys, policy, "me/x")


def test_damaged_demonstrations_are_refused(tmp_path, capsys):
    folder = write_demonstrations(tmp_path / "demonstrations")
    (table,) = files_of(folder, "data/*/*.parquet")
    write_json(folder / "provenance.json", {"files": {str(table.relative_to(folder)): "0" * 64}})
    assert "changed since it was written" in refused(capsys, folder, "me/x")
    (folder / "provenance.json").unlink()
    (folder / "meta" / "tasks.parquet").write_bytes(b"no table")
    assert "tasks.parquet" in refused(capsys, folder, "me/x")
    table.unlink()
    refused(capsys, folder, "me/x")


def test_a_changed_study_is_refused(packed, capsys):
    packed.write_bytes(packed.read_bytes()[:-100])
    assert "study.zip" in refused(capsys, packed, "me/x")
