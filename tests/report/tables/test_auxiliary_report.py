"""The auxiliary table of a made-up study."""

import json

import pytest
import synthetic_study as made
from table_checks import check_benchmark_names, check_same_bytes, check_whole, only, read_rows

from vlm4vla.analysis.paired import compare
from vlm4vla.core.errors import UserError
from vlm4vla.stages.table import run


def make(tuned, output, settings=None, **changes):
    inputs = vars(tuned) | {"fast": []} | changes
    run(settings or made.settings("auxiliary"), output=output, **inputs)
    return output


@pytest.fixture(scope="module")
def written(tuned, tmp_path_factory):
    return make(tuned, tmp_path_factory.mktemp("auxiliary"))


def test_files(written):
    check_whole(written, "auxiliary")
    check_benchmark_names(written, "auxiliary")


def test_generated_images_are_among_the_figures(written):
    for suffix in ("pdf", "png"):
        page = written / "figures" / f"generated_qwen2.5-vl-7b.{suffix}"
        assert page.read_text() == f"images of qwen2.5-vl-7b, {suffix}"


@pytest.mark.usefixtures("numbers_only")
def test_a_missing_page_is_named(tuned, tmp_path):
    folder = tmp_path / "auxiliary" / "qwen2.5-vl-7b" / "omni-generation"
    folder.mkdir(parents=True)
    original = next(path.parent for path in tuned.auxiliary if path.parent.name == folder.name)
    for name in ("score.json", "provenance.json"):
        (folder / name).write_text((original / name).read_text())
    others = [path for path in tuned.auxiliary if path.parent.name != folder.name]
    with pytest.raises(UserError, match=r"omni-generation/generated\.pdf: no such file"):
        make(tuned, tmp_path / "out", auxiliary=[*others, folder])


def test_values_are_the_records_of_the_task(written):
    found = read_rows(written, "auxiliary")
    records = [
        made.episodes("qwen2.5-vl-3b", "full", "calvin", 0.55 * factor, seed=seed, noise=noise)
        for factor, noise in ((0.67, len("robopoint")), (1.0, len("none")))
        for seed in (0, 1, 2)
    ]
    means = [frame["solved"].mean() for frame in records]
    row = only(found, model="qwen2.5-vl-3b", auxiliary="robopoint", metric="average_length")
    base = only(found, model="qwen2.5-vl-3b", auxiliary="none", metric="average_length")
    assert float(row["value"]) == pytest.approx(sum(means[:3]) / 3, abs=1e-4)
    assert float(base["value"]) == pytest.approx(sum(means[3:]) / 3, abs=1e-4)
    assert float(row["difference"]) == pytest.approx(sum(means[:3]) / 3 - sum(means[3:]) / 3, abs=1e-4)
    assert (row["compared_with"], base["compared_with"], row["seeds"]) == ("none", "", "3")
    assert float(row["seed_sd"]) > 0
    solved = only(found, model="qwen2.5-vl-3b", auxiliary="robopoint", metric="success_at_2")
    at_two = sum((frame["solved"] >= 2).mean() for frame in records[:3]) / 3
    assert float(solved["value"]) == pytest.approx(at_two, abs=1e-4)


def test_published_are_fractions_and_five_times_their_mean(written):
    found = read_rows(written, "auxiliary")
    key = {"model": "qwen2.5-vl-7b", "auxiliary": "omni-generation"}
    assert only(found, **key, metric="average_length")["published"] == "3.875"
    assert only(found, **key, metric="success_at_5")["published"] == "0.654"
    assert "±0.002" in (written / "tables" / "auxiliary.md").read_text()


def test_own_score_and_capability_before_and_after(written):
    found = read_rows(written, "auxiliary")
    key = {"model": "qwen2.5-vl-3b", "auxiliary": "robopoint"}
    before = only(found, **key, metric="auxiliary_score_before")
    after = only(found, **key, metric="auxiliary_score_after")
    assert (before["value"], after["value"], after["ci_low"], after["episodes"]) == (
        "0.2",
        "0.8",
        "0.76",
        "400",
    )
    capability = only(found, **key, metric="capability_overall")
    assert (capability["value"], float(capability["difference"])) == ("0.5", pytest.approx(-0.1))
    base = only(found, model="qwen2.5-vl-3b", auxiliary="none", metric="capability_overall")
    assert (base["value"], base["difference"]) == ("0.6", "")


def test_verdicts_say_which_scores_rose(written):
    analysis = json.loads((written / "analysis" / "auxiliary.json").read_text())
    text = "\n".join(analysis["verdicts"])
    rose = "rose from 20.0 % to 80.0 %; control on CALVIN (embedded)"
    assert f"RoboPoint: its score on RoboPoint {rose} fell" in text
    assert f"ViCA-332k: its score on ViCA-332k {rose} rose" in text
    assert (
        "Robo2VLM: its score on Robo2VLM did not clearly rise (20.0 % before fine-tuning, 22.0 % after)"
        in text
    )
    assert "did not clearly rise for Qwen2.5-VL-3B after Robo2VLM, so these rows do not show" in text
    assert (
        "Of 6 policies whose task's own score rose, control is lower in 1 of 6 cells, higher in 1, " in text
    )
    assert "shows here in part (2 of 6 show it, 1 shows the opposite, 3 cannot be told with 96" in text
    found = [row for row in analysis["records"] if row.get("outcome") == "not learnt"]
    assert {(row["model"], row["auxiliary"], row["p_value"]) for row in found} == {
        ("qwen2.5-vl-3b", "robo2vlm", None)
    }
    tested = [row for row in analysis["records"] if row.get("adjustment") == "Holm"]
    assert len(tested) == 6


def test_seed_values_are_in_the_json(written):
    values = json.loads((written / "analysis" / "auxiliary.json").read_text())["seed_values"]
    chosen = [each for each in values if each["auxiliary"] == "vqa-mix"]
    assert [each["seed"] for each in chosen] == [0, 1, 2]
    frame = made.episodes("qwen2.5-vl-7b", "full", "calvin", 0.55, seed=1, noise=len("vqa-mix"))
    assert chosen[1]["value"] == pytest.approx(frame["solved"].mean())


@pytest.mark.usefixtures("numbers_only")
def test_missing_records_and_scores_are_named(tuned, tmp_path):
    make(
        tuned,
        tmp_path,
        episodes=[path for path in tuned.episodes if "robopoint" not in path.parts],
        auxiliary=tuned.auxiliary[1:],
        capability=[path for path in tuned.capability if path.stem != "vqa-mix"],
    )
    text = (tmp_path / "tables" / "auxiliary.md").read_text()
    assert "Not measured: Qwen2.5-VL-3B after RoboPoint all trained on CALVIN (embedded)" in text
    assert "own score of Qwen2.5-VL-7B after omni-generation" in text
    assert "capability of Qwen2.5-VL-7B after VQA mix" in text
    assert "its score on omni-generation was not measured" in text


def test_a_study_without_any_record_still_makes_its_table(tmp_path):
    run(made.settings("auxiliary"), episodes=[], published=made.PUBLISHED, output=tmp_path)
    check_whole(tmp_path, "auxiliary")


@pytest.mark.usefixtures("numbers_only")
def test_one_seed_without_none_compares_nothing(tuned, tmp_path):
    cells = {"backbones": ["qwen2.5-vl-3b"], "auxiliaries": {"qwen2.5-vl-3b": ["robopoint"]}}
    settings = made.settings("auxiliary", cells, seeds=[0])
    episodes = [path for path in tuned.episodes if "robopoint" in path.parts and "seed0" in path.parts]
    make(tuned, tmp_path, settings, episodes=episodes)
    row = only(read_rows(tmp_path, "auxiliary"), metric="average_length")
    assert (row["difference"], row["seed_sd"], row["seeds"]) == ("", "", "1")
    assert "variance between training runs is not measured" in (
        tmp_path / "tables" / "auxiliary.md"
    ).read_text().replace("\n", " ")


def test_the_same_records_give_the_same_bytes(tuned, written, tmp_path):
    make(tuned, tmp_path, episodes=tuned.episodes[::-1], auxiliary=tuned.auxiliary[::-1])
    check_same_bytes(written, tmp_path, "auxiliary")


@pytest.mark.exhaustive
def test_rollouts_after_a_task_do_not_change_other_tables(study, tuned, tmp_path):
    _root, episodes, _capability, curves = study
    extra = [path for path in tuned.episodes if "none" not in path.parts]
    assert extra
    for table in ("main", "freeze"):
        inputs = {
            "capability": [],
            "curves": curves if table == "main" else [],
            "published": made.PUBLISHED,
        }
        run(made.settings(table), episodes=episodes, output=tmp_path / "without", **inputs)
        run(made.settings(table), episodes=episodes + extra, output=tmp_path / "with", **inputs)
        check_same_bytes(tmp_path / "without", tmp_path / "with", table)


def test_the_error_for_other_initial_states_names_the_task(tmp_path):
    none = made.episodes("kosmos-2", "full", "bridge", 0.5)
    task = none.assign(auxiliary="robopoint", initial_state=none["initial_state"] + 1)
    with pytest.raises(UserError, match="kosmos-2/robopoint/full than for kosmos-2/none/full"):
        compare(task, none, "success_rate")
