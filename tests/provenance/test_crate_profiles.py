"""roc-validator, another project's validator, accepts a packed study for each profile that the study claims.

The validator runs in its own environment (envs/rocrate), as a child process.
"""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests/support/crate_program.py"
VALIDATOR = Path(os.environ.get("ROCRATE_PYTHON") or REPOSITORY / ".venv-rocrate/bin/python")
CLAIMED = {  # the validator's name of each profile in conformsTo
    "https://w3id.org/ro/crate/1.1": "ro-crate-1.1",
    "https://w3id.org/ro/wfrun/process/0.5": "process-run-crate-0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5": "workflow-run-crate-0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "workflow-ro-crate-1.0",
}
# Recommendations that a packed study cannot follow by itself: it knows no person and no public address.
NOT_FOLLOWED = {
    "Action agent",
    "Application url",
    "Main Workflow Bioschemas compliance",
    "Root Data Entity: `author` property",
    "Root Data Entity: `publisher` property",
    "SoftwareApplication id",  # no absolute address is possible for a file of the crate
}

pytestmark = pytest.mark.skipif(
    not VALIDATOR.is_file(),
    reason="roc-validator is missing: run make test-crate, or set ROCRATE_PYTHON",
)


def problems(study, folder):
    words = [str(VALIDATOR), str(PROGRAM), str(study), str(folder / "cache"), *CLAIMED.values()]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def metadata(study):
    with zipfile.ZipFile(study) as archive:
        return json.loads(archive.read("ro-crate-metadata.json"))


def test_a_packed_study_meets_the_profiles_that_it_claims(packed, tmp_path):
    entities = {entity["@id"]: entity for entity in metadata(packed)["@graph"]}
    claimed = [entities[name]["conformsTo"] for name in ("./", "ro-crate-metadata.json")]
    assert {link["@id"] for links in claimed for link in links} == set(CLAIMED)
    for profile, found in problems(packed, tmp_path).items():
        assert not [one for one in found if one[0] == "REQUIRED"], profile
        assert {name for _, _, name, _ in found} <= NOT_FOLLOWED, profile


def test_the_validator_refuses_a_study_without_its_workflow(packed, tmp_path):
    content = metadata(packed)
    for entity in content["@graph"]:
        if entity["@id"] == "./":
            del entity["mainEntity"]
    (tmp_path / "broken").mkdir()
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "broken")
    (tmp_path / "broken/ro-crate-metadata.json").write_text(json.dumps(content))
    found = problems(tmp_path / "broken", tmp_path)
    assert any(severity == "REQUIRED" for severity, *_ in found["workflow-ro-crate-1.0"])
    assert not any(severity == "REQUIRED" for severity, *_ in found["ro-crate-1.1"])
