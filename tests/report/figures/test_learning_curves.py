import pytest
import synthetic_study as made

from vlm4vla.core.errors import UserError
from vlm4vla.report.figures.learning_curves import draw_learning_curves, read_curves


def test_curves_are_read_from_folder_or_provenance(tmp_path):
    paths = made.write_curves(tmp_path)
    curves = read_curves(paths)
    assert curves == read_curves([path.parent for path in paths])
    assert len(curves) == 30
    assert (curves[0].benchmark, curves[0].model, curves[0].steps[:2]) == (
        "bridge",
        "internvl3.5-4b",
        [50, 100],
    )
    assert curves[0].losses[0] > curves[0].losses[-1] > 0


def test_a_resumed_run_counts_each_step_once(tmp_path):
    path = made.write_curves(tmp_path)[0]
    log = path.parent / "train.jsonl"
    log.write_text(log.read_text() + '{"step": 2000, "loss": 0.25}\n')
    (curve,) = read_curves([path])
    assert curve.steps == sorted(set(curve.steps))
    assert curve.losses[-1] == 0.25


def test_a_broken_log_is_refused(tmp_path):
    path = made.write_curves(tmp_path)[0]
    (path.parent / "train.jsonl").write_text('{"step": 1, "lo')
    with pytest.raises(UserError, match="not a trained VLA"):
        read_curves([path])


def test_no_curves_is_a_figure_that_says_so(tmp_path):
    draw_learning_curves([], "embedded", tmp_path / "curves")
    assert (tmp_path / "curves.pdf").exists() and (tmp_path / "curves.png").exists()
