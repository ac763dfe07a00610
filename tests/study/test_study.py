"""The artefacts that a study declares."""

from __future__ import annotations


def test_declared_names_each_file_once(study):
    files = study.declared()
    assert len(files) == len(set(files))
    assert sum("/rollouts/" in name for name in files) == 90 + 6
    assert sum("/vla/" in name for name in files) == 90
    assert sum("/auxiliary/" in name for name in files) == 9
    assert sum("/auxiliary_data/" in name for name in files) == 8
    assert sum("/capability/" in name for name in files) == 10 + 9
