"""Temporary files of killed jobs are removed, and never count as files of an artefact."""

from vlm4vla.core.artefacts import atomic_path, checkpoint_hash, files_of, remove_unfinished


def leave_a_temporary_file(path):
    """As a job leaves it that is killed while it writes `path`."""
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        kept = temporary.read_bytes()
    path.unlink()
    temporary.write_bytes(kept)
    return temporary


def test_only_temporary_files_are_removed(tmp_path):
    names = [".lock", ".x", ".file-000.parquet", "a.parquet", ".a.0123.parquet", ".hidden.abcdefgh.txt.x"]
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / "data").mkdir()
    left = [
        leave_a_temporary_file(tmp_path / "data" / name)
        for name in ("file-000.parquet", "model-00001-of-00002.safetensors", "state.json", "noextension")
    ]
    remove_unfinished(tmp_path)
    assert not any(path.exists() for path in left)
    assert all((tmp_path / name).exists() for name in names)


def test_hidden_files_are_no_files_of_an_artefact(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "c.parquet").write_text("c")
    whole = tmp_path / "data" / "file-000.parquet"
    whole.write_text("whole")
    leave_a_temporary_file(tmp_path / "data" / "file-001.parquet")
    assert files_of(tmp_path, "**/*.parquet") == [whole]


def test_a_checkpoint_has_the_same_hash_with_a_temporary_file(tmp_path):
    (tmp_path / "model.safetensors").write_text("weights")
    before = checkpoint_hash(tmp_path)
    leave_a_temporary_file(tmp_path / "model.safetensors.new.safetensors")
    assert checkpoint_hash(tmp_path) == before
