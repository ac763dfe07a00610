import pytest
import synthetic_study as made

from vlm4vla.artefacts import UserError
from vlm4vla.report.published import read_published, read_published_correlation


def test_the_papers_numbers_in_the_tables_units():
    main = read_published(made.PUBLISHED, "main")
    assert main.value("qwen2.5-vl-7b", "full", "calvin", "average_length") == 4.057
    assert main.value("kosmos-2", "full", "bridge", "success_rate") == 0.604
    assert main.value("kosmos-2", "scratch", "bridge", "success_rate") is None
    assert set(made.TEN) < {key[0] for key in main.values}
    assert main.notes == {"internvl3.5-4b": "hidden row of the project page"}
    freeze = read_published(made.PUBLISHED, "freeze")
    assert freeze.value("paligemma-1", "freeze-vision", "bridge", "success_rate") == 0.1325
    assert len(freeze.values) == 18


def test_the_papers_correlation():
    found = read_published_correlation(made.PUBLISHED)
    assert (found["calvin", "overall"].pearson, found["calvin", "overall"].backbones) == (0.839, 9)
    assert found["bridge", "overall"].pearson is None
    assert "no significant" in found["libero-10", "overall"].note


def test_a_file_without_its_columns(tmp_path):
    (tmp_path / "main.csv").write_text("name,calvin_abcd_avg_len\nkosmos-2,3.0\n")
    with pytest.raises(UserError, match="column 'model' is missing"):
        read_published(tmp_path, "main")
