"""GPUs of a run on this machine."""

from __future__ import annotations

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.gpus import check_gpus


@pytest.mark.parametrize(("needed", "offered"), [(0, None), (0, 0), (1, 1), (8, 8), (4, 8)])
def test_enough(tmp_path, capsys, needed, offered):
    (tmp_path / "nvidia0").touch()
    check_gpus(needed, offered, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("needed", "offered"), [(8, 1), (1, 0)])
def test_a_training_on_more_than_are_offered(tmp_path, needed, offered):
    with pytest.raises(UserError, match=rf"--resources gpu={offered}: .* takes {needed} GPUs") as caught:
        check_gpus(needed, offered, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "nvidia0", "kfd", "nvidiactl"])
def test_no_gpu_is_noted(tmp_path, capsys, name):
    if name:
        (tmp_path / name).touch()
    check_gpus(1, 1, tmp_path)
    assert ("shows no GPU" in capsys.readouterr().err) == (name in ("", "nvidiactl"))
