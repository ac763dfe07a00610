import csv
import json
import re
import shutil
import zlib

import matplotlib.image
import numpy as np
import pytest
import synthetic_study as made
from statsmodels.stats.multitest import multipletests

from vlm4vla.analysis.sensitivity import FRAGILE, GROUPS, NEGATIVE, POSITIVE, UNDECIDED
from vlm4vla.config.stages import TableSettings, read_settings
from vlm4vla.core.errors import UserError
from vlm4vla.report import marks
from vlm4vla.report.rows.table import GAP, TIDY
from vlm4vla.stages.table import run
from vlm4vla.study.outputs import outputs

TABLES = made.BACKBONE_TABLES  # the tables of fine-tuned backbones have their own test files


def make(table, study, output, **changes):
    _root, episodes, capability, curves = study
    inputs = {
        "episodes": episodes,
        "capability": capability if table == "correlation" else [],
        "curves": curves if table == "main" else [],
        "published": made.PUBLISHED,
    }
    run(made.settings(table), output=output, **inputs | changes)
    return output


@pytest.fixture(scope="module")
def tables(study, tmp_path_factory):
    """All four tables of the made-up study."""
    output = tmp_path_factory.mktemp("tables")
    for table in TABLES:
        make(table, study, output)
    return output


def write_seeds(root, models, seeds):
    """Records of these backbones on Bridge with several training seeds, and of floor and ceiling."""
    frames = [made.episodes(model, "full", "bridge", 0.6, seed=seed) for model in models for seed in seeds]
    frames += [
        made.episodes("random", "full", "bridge", 0.12),
        made.episodes("expert", "full", "bridge", 0.97),
    ]
    return [made.write_episodes(root, frame) for frame in frames]


without_figures = pytest.mark.usefixtures("numbers_only")


def rows(output, table):
    with (output / "tables" / f"{table}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def only(found, **wanted):
    chosen = [row for row in found if all(row[key] == value for key, value in wanted.items())]
    assert len(chosen) == 1
    return chosen[0]


@pytest.mark.parametrize("table", TABLES)
def test_every_declared_file_is_there_and_no_other(tables, table):
    for name in outputs(table):
        assert (tables / name).stat().st_size > 500, name
    declared = {name for each in TABLES for name in outputs(each)}
    assert {str(path.relative_to(tables)) for path in tables.rglob("*") if path.is_file()} == declared


@pytest.mark.parametrize("table", TABLES)
def test_csv_is_tidy(tables, table):
    found = rows(tables, table)
    assert tuple(found[0])[: len(TIDY)] == TIDY
    for row in found:
        low, value, high = (float(row[key] or "nan") for key in ("ci_low", "value", "ci_high"))
        assert not value < low and not value > high


@pytest.mark.parametrize("table", TABLES)
def test_the_real_names_of_benchmarks_never_appear_alone(tables, table):
    for suffix in ("md", "tex"):
        text = (tables / "tables" / f"{table}.{suffix}").read_text()
        text = text.replace("CALVIN ABC-D", "").replace("SimplerEnv Bridge", "")
        # the paper's own findings name the real LIBERO-10, always as the paper's
        text = re.sub(r"the paper's finding on LIBERO-10", "", text)
        assert "CALVIN (embedded)" in text
        assert not re.findall(r"(?:CALVIN|Bridge|LIBERO-10)(?! \(embedded\))", text)
        for promised in ("Scale: embedded", "96 chains of 5 instructions", "variance", "not measured"):
            assert promised in text
        assert "Wilson" in text and "bounded mean" in text


@pytest.mark.parametrize("table", TABLES)
def test_latex_is_ascii_with_balanced_braces_and_even_rows(tables, table):
    text = (tables / "tables" / f"{table}.tex").read_text()
    assert text.isascii()
    bare = text.replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[%#_](?! \\usepackage)", bare.replace("{!}{%\n", "").replace("tab:", ""))
    for columns, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, flags=re.S):
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert lines
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in lines)


def test_markdown_has_a_row_for_each_model(tables):
    text = (tables / "tables" / "main.md").read_text()
    scores = text.split("## ")[1].splitlines()
    lines = [line for line in scores if line.startswith("| ")][2:]
    assert len(lines) == 12
    assert lines[-2].startswith("| random actions (floor)")
    assert lines[-1].startswith("| scripted expert (ceiling)")
    assert "| 3.856 |" in re.sub(" +", " ", lines[0])


def test_main_values_are_the_records(tables):
    found = rows(tables, "main")
    assert len(found) == 12 * (6 + 1 + 1)
    records = made.episodes("qwen3-vl-2b", "full", "calvin", 0.63)
    row = only(found, model="qwen3-vl-2b", benchmark="calvin", metric="average_length")
    assert float(row["value"]) == pytest.approx(records["solved"].mean(), abs=1e-5)
    assert (row["episodes"], row["seeds"], row["published"]) == ("96", "1", "4.142")
    bridge = only(found, model="internvl3.5-4b", benchmark="bridge")
    assert bridge["published"] == "0.573"
    assert only(found, model="random", benchmark="bridge")["published"] == ""
    assert "hidden row of the authors' project page" in (tables / "tables" / "main.md").read_text()


def test_freeze_pairs_with_the_full_policy(tables):
    found = rows(tables, "freeze")
    assert len(found) == 3 * 3 * 2
    row = only(found, model="paligemma-1", variant="freeze-vision", benchmark="calvin")
    full = only(found, model="paligemma-1", variant="full", benchmark="calvin")
    assert float(row["difference"]) == pytest.approx(float(row["value"]) - float(full["value"]), abs=1e-4)
    assert (row["published"], row["test"], row["compared_with"]) == ("0.495", "sign-flip", "full")
    assert float(row["p_value"]) < 0.001
    assert full["difference"] == ""
    verdicts = json.loads((tables / "analysis" / "freeze.json").read_text())["verdicts"]
    assert any("hurts every backbone shows here" in sentence for sentence in verdicts)


def test_scratch_counts_its_nine_cells(tables):
    found = rows(tables, "scratch")
    assert sum(bool(row["p_value"]) for row in found) == 9
    text = (tables / "tables" / "scratch.md").read_text()
    assert "against that from random weights, is higher in 9 of 9 cells" in text
    assert "score) shows here, in these trained policies" in text
    assert all(0 < float(row["share_ci_low"]) < float(row["share"]) for row in found if row["share"])
    assert all(float(row["share_ci_high"]) < 0.5 for row in found if row["share"])
    assert "2000 VLA training steps" in text
    assert "McNemar p" in text and "sign-flip p" in text


def test_the_published_correlation_is_in_its_row(tables):
    found = rows(tables, "correlation")
    subset = only(
        found,
        model="the paper's backbones",
        benchmark="calvin",
        metric="pearson_r",
    )
    assert (subset["published"], subset["backbones"]) == ("0.839", "9")
    everyone = only(
        found, model="all backbones", benchmark="bridge", metric="pearson_r", question_set="overall"
    )
    assert (everyone["backbones"], everyone["published"]) == ("10", "")
    points = json.loads((tables / "analysis" / "correlation.json").read_text())["policies"]
    x = [
        float(row["value"])
        for row in found
        if (row["metric"], row["question_set"]) == ("question_score", "overall")
    ]
    y = [point["value"] for point in points if point["benchmark"] == "bridge"]
    assert float(everyone["value"]) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)


def test_pairs_and_ranking_are_behind_the_main_table(tables):
    analysis = json.loads((tables / "analysis" / "main.json").read_text())
    assert len(analysis["pairs"]) == 3 * 45
    assert len(analysis["standing"]["policies"]) == 10
    assert {row["benchmark"] for row in analysis["by_task"]} == {"bridge", "libero-10"}
    text = (tables / "tables" / "main.md").read_text()
    assert "## Bridge (embedded): pairs of backbones" in text and "## Ranking over all benchmarks" in text
    assert "of 45 pairs of backbones" in text
    assert {row["agreement"] for row in rows(tables, "main")} == {"", "not comparable (embedded)"}


def test_both_the_raw_and_the_adjusted_p_are_shown(tables):
    for table, tests in (("freeze", 12), ("scratch", 9)):
        tested = [row for row in rows(tables, table) if row["p_value"]]
        assert len(tested) == tests
        assert {row["adjustment"] for row in tested} == {"Holm"}
        expected = multipletests([float(row["p_value"]) for row in tested], method="holm")[1]
        assert [float(row["p_adjusted"]) for row in tested] == pytest.approx(expected, rel=1e-4)
        text = (tables / "tables" / f"{table}.md").read_text()
        assert "Holm p" in text and f"Holm's correction for the table's {tests} tests" in text
    undecided = [
        row for row in rows(tables, "freeze") if row["p_adjusted"] and float(row["p_adjusted"]) > 0.05
    ]
    assert undecided and {row["outcome"] for row in undecided} == {"undecided"}
    freeze = (tables / "tables" / "freeze.md").read_text()
    assert all(f"(n {row['needed'] or GAP})" in freeze for row in undecided)


def test_sensitivity_of_the_correlation(tables):
    analysis = json.loads((tables / "analysis" / "correlation.json").read_text())
    assert [check["benchmark"] for check in analysis["sensitivity"]] == made.BENCHMARKS
    for check in analysis["sensitivity"]:
        assert check["leave_one_out"]["low"] <= check["leave_one_out"]["high"]
        assert check["rollouts_ci"][0] < check["rollouts_ci"][1]
        assert check["families"] is None  # these settings name none
        assert check["outcome"] in (POSITIVE, NEGATIVE, FRAGILE, GROUPS, UNDECIDED)
        assert check["verdict"].startswith((POSITIVE, NEGATIVE, check["outcome"]))
    found = [row for row in rows(tables, "correlation") if row["p_value"]]
    assert {row["metric"] for row in found} == {"pearson_r", "spearman_rho", "kendall_tau"}
    sets = [
        row
        for row in found
        if (row["metric"], row["model"]) == ("kendall_tau", "all backbones")
        and row["question_set"] != "overall"
    ]
    expected = multipletests([float(row["p_value"]) for row in sets], method="holm")[1]
    assert [float(row["p_adjusted"]) for row in sets] == pytest.approx(expected, rel=1e-4)


@without_figures
def test_families_of_the_settings_are_used_by_lineage(study, tmp_path):
    """Qwen-VL's three types and PaliGemma's two are two lineages. Two backbones have their own family."""
    types = {"qwen2.5": "qwen2_5_vl", "qwen3": "qwen3_vl", "paligemma": "paligemma2"}
    families = {model: types.get(model.split("-")[0], model) for model in made.TEN}
    families |= {"qwen3-vl-30b-a3b": "qwen3_vl_moe", "paligemma-1": "paligemma"}
    _root, episodes, capability, _curves = study
    settings = made.settings("correlation", families=families)
    inputs = {"episodes": episodes, "capability": capability, "published": made.PUBLISHED}
    run(settings, output=tmp_path, **inputs)
    analysis = json.loads((tmp_path / "analysis" / "correlation.json").read_text())
    assert [check["families"]["families"] for check in analysis["sensitivity"]] == [4, 4, 4]


@without_figures
def test_at_the_papers_scale_agreement_is_a_column(tmp_path):
    frame = made.episodes("kosmos-2", "full", "bridge", 0.6, scale="paper")
    cells = {"backbones": ["kosmos-2"], "benchmarks": ["bridge"]}
    run(
        made.settings("main", cells=cells, scale="paper"),
        episodes=[made.write_episodes(tmp_path, frame)],
        published=made.PUBLISHED,
        output=tmp_path,
    )
    text = (tmp_path / "tables" / "main.md").read_text()
    row = only(rows(tmp_path, "main"), model="kosmos-2", metric="success_rate")
    assert row["agreement"] in ("within its interval", "within five points", "off")
    assert row["agreement"] in text and "| agreement |" in text.replace("  ", "")


@without_figures
@pytest.mark.parametrize(("scale", "marked"), [("paper", True), ("released", True), ("smoke", False)])
def test_published_numbers_in_doubt_are_marked_at_the_scales_of_real_models(tmp_path, scale, marked):
    """Qwen on Bridge was trained on negatives; CALVIN and the other families were not."""
    frames = [
        made.episodes(model, "full", benchmark, 0.6, scale=scale)
        for model in ("qwen3-vl-2b", "kosmos-2")
        for benchmark in ("bridge", "calvin")
    ]
    cells = {"backbones": ["qwen3-vl-2b", "kosmos-2"], "benchmarks": ["calvin", "bridge"]}
    run(
        made.settings("main", cells=cells, scale=scale),
        episodes=[made.write_episodes(tmp_path, frame) for frame in frames],
        published=made.PUBLISHED,
        output=tmp_path,
    )
    text, tex = ((tmp_path / "tables" / name).read_text() for name in ("main.md", "main.tex"))
    assert ("49.0†" in text) == marked and "4.142†" not in text and "60.4†" not in text
    assert text.count("† The released code trains Qwen on Bridge and LIBERO-10 with negatives") == marked
    assert (r"49.0\textdagger{}" in tex) == marked and tex.isascii()
    notes = {
        (row["model"], row["benchmark"], row["metric"])
        for row in rows(tmp_path, "main")
        if row.get("published_note")
    }
    assert notes == ({("qwen3-vl-2b", "bridge", "success_rate")} if marked else set())
    assert ("published_note" in rows(tmp_path, "main")[0]) == marked


@without_figures
def test_verdicts_name_findings_that_do_not_show(tmp_path):
    episodes = made.write_study(tmp_path, skills={"freeze-vision": 1.0, "scratch": 1.0})
    study = (tmp_path, episodes, made.write_capability(tmp_path), [])
    for table in ("freeze", "scratch"):
        make(table, study, tmp_path)
    freeze, scratch = ((tmp_path / "tables" / f"{table}.md").read_text() for table in ("freeze", "scratch"))
    assert "hurts every backbone cannot be told with 96 initial states, in these trained" in freeze
    assert "falls behind does not show here (0 of 9 show it, 2 show the opposite, 7 cannot be told" in scratch
    assert "collapses" in scratch and "score) does not show here: the opposite does" in scratch


@without_figures
def test_missing_cells_are_named(study, tmp_path):
    _root, episodes, capability, _curves = study
    kept = [path for path in episodes if "kosmos-2" not in str(path) and "random" not in str(path)]
    shown = made.settings("main", cells={"backbones": ["kosmos-2", "paligemma-1"]})
    run(shown, episodes=kept, published=made.PUBLISHED, output=tmp_path)
    make("correlation", study, tmp_path, episodes=kept, capability=capability[1:])
    main = (tmp_path / "tables" / "main.md").read_text()
    assert "Not measured: Kosmos-2 all trained on CALVIN (embedded)" in main
    assert "the floor was not measured" in main
    assert only(rows(tmp_path, "main"), model="kosmos-2", benchmark="bridge")["value"] == ""
    correlation = (tmp_path / "tables" / "correlation.md").read_text()
    assert "question score of Qwen2.5-VL-3B" in correlation
    overall = only(
        rows(tmp_path, "correlation"),
        model="all backbones",
        benchmark="calvin",
        metric="pearson_r",
        question_set="overall",
    )
    assert overall["backbones"] == "8"


def test_a_study_without_any_record_still_makes_its_tables(tmp_path):
    empty = (tmp_path, [], [], [])
    for table in TABLES:
        make(table, empty, tmp_path)
        assert all((tmp_path / name).exists() for name in outputs(table))
        assert "Not measured" in (tmp_path / "tables" / f"{table}.md").read_text()


@without_figures
def test_two_seeds_are_in_the_caption_and_have_a_deviation(tmp_path):
    cells = {"backbones": ["paligemma-1", "paligemma-2"], "benchmarks": ["bridge"]}
    run(
        made.settings("main", cells=cells, seeds=[0, 1]),
        episodes=write_seeds(tmp_path, cells["backbones"], (0, 1)),
        published=made.PUBLISHED,
        output=tmp_path,
    )
    row = only(rows(tmp_path, "main"), model="paligemma-2", benchmark="bridge")
    assert (row["seeds"], row["episodes"]) == ("2", "96")
    assert float(row["seed_sd"]) >= 0
    assert "Training seeds 0, 1" in (tmp_path / "tables" / "main.md").read_text()


@without_figures
def test_a_missing_seed_is_named(tmp_path):
    cells = {"backbones": ["kosmos-2", "paligemma-2"], "benchmarks": ["bridge"]}
    paths = write_seeds(tmp_path, cells["backbones"], (0, 1, 2))
    gone = [f"kosmos-2/none/full/bridge/seed{seed}/episodes.parquet" for seed in (1, 2)]
    kept = [path for path in paths if not str(path).endswith((gone[0], gone[1]))]
    assert len(kept) == len(paths) - 2
    run(
        made.settings("main", cells=cells, seeds=[0, 1, 2]),
        episodes=kept,
        published=made.PUBLISHED,
        output=tmp_path,
    )
    text = (tmp_path / "tables/main.md").read_text()
    assert "Not measured: Kosmos-2 all trained on Bridge (embedded), seeds 1 and 2.\n" in text


@without_figures
def test_expert_vlas_are_rows_and_not_in_the_means(study, tables, tmp_path):
    _root, episodes, _, _ = study
    own = {"execution_horizon": 1, "protocol": "its own"}
    frame = made.episodes("openvla", "full", "bridge", 0.9, **own)
    cells = {"experts": ["openvla", "thinkact"]}
    summary = {"backbone": "qwen2.5-vl-7b", "steps": 3600, "executed": "1 of 1 predicted actions"}
    settings = made.settings("main", cells=cells, experts={"openvla": summary, "thinkact": summary})
    run(
        settings,
        episodes=[*episodes, made.write_episodes(tmp_path, frame)],
        published=made.PUBLISHED,
        output=tmp_path,
    )
    row = only(rows(tmp_path, "main"), model="openvla", benchmark="bridge")
    assert float(row["value"]) == pytest.approx(frame["success"].mean(), abs=1e-5)
    assert row["published"] == "0.042"
    text = (tmp_path / "tables" / "main.md").read_text()
    assert "OpenVLA (expert) on Qwen2.5-VL-7B, 3600 training steps" in text
    assert "ThinkAct (expert) all trained on Bridge (embedded)" in text.split("Not measured")[1]
    bridge = [line for line in text.splitlines() if line.startswith("- Bridge")]
    assert bridge == [
        line
        for line in (tables / "tables" / "main.md").read_text().splitlines()
        if line.startswith("- Bridge")
    ]
    order = [row["model"] for row in rows(tmp_path, "main") if row["metric"] == "average_length"]
    assert order[-4:] == ["openvla", "thinkact", "random", "expert"]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("main", marks=pytest.mark.exhaustive),
        "freeze",
        "scratch",
        pytest.param("correlation", marks=pytest.mark.exhaustive),
    ],
)
def test_the_same_records_give_the_same_bytes(study, tables, tmp_path, table):
    _root, episodes, _capability, _curves = study
    make(table, study, tmp_path, episodes=episodes[::-1])
    for name in outputs(table):
        assert (tmp_path / name).read_bytes() == (tables / name).read_bytes(), name


def test_figures_are_pictures(tables):
    for path in sorted((tables / "figures").glob("*.png")):
        picture = matplotlib.image.imread(path)
        assert picture.shape[0] > 300 and picture.shape[1] > 900
        assert picture[..., :3].std() > 0.05
    for path in sorted((tables / "figures").glob("*.pdf")):
        content = path.read_bytes()
        assert content.startswith(b"%PDF") and b"%%EOF" in content[-10:]
        assert b"CreationDate" not in content
        assert any(_inflates(part) for part in content.split(b"stream\n")[1:])


def _inflates(part):
    try:
        return len(zlib.decompressobj().decompress(part)) > 100
    except zlib.error:
        return False


@without_figures
def test_an_overwritten_table_leaves_no_temporary_files(study, tmp_path):
    make("freeze", study, tmp_path)
    make("freeze", study, tmp_path)
    assert not [path for path in tmp_path.rglob(".*")]


def test_unknown_table():
    text = made.settings("main").model_copy(update={"table": "mian"}).model_dump_json()
    with pytest.raises(UserError, match="--settings: table: Input should be 'main', 'freeze'"):
        read_settings(text, TableSettings)


@without_figures
def test_published_may_be_a_file_and_must_be_there(study, tmp_path):
    _root, _episodes, _, _ = study
    make("freeze", study, tmp_path, published=made.PUBLISHED / "freeze.csv")
    shutil.copytree(made.PUBLISHED, tmp_path / "published")
    (tmp_path / "published" / "freeze.csv").unlink()
    with pytest.raises(UserError, match=r"freeze\.csv: no such file"):
        make("freeze", study, tmp_path, published=tmp_path / "published" / "freeze.csv")


@pytest.mark.parametrize("table", TABLES)
def test_every_mark_in_a_cell_is_explained_under_the_table(tables, table):
    """Each mark has one meaning in all tables (vlm4vla.report.marks)."""
    text = (tables / "tables" / f"{table}.md").read_text().replace(r"\*", "*")
    cells = "".join(re.findall(r"^\|.*$", text, flags=re.MULTILINE))
    words = " ".join(line for line in text.splitlines() if not line.startswith(("|", "#")))
    meaning = {
        marks.SIGNIFICANT: "* the difference is significant",
        marks.EQUIVALENT: "= equivalent",
        marks.ELSEWHERE: "\N{DOUBLE DAGGER} Not in the paper",
    }
    for mark, sentence in meaning.items():
        shown = mark in cells.replace("p = ", "").replace("r = ", "")
        assert not shown or sentence in words.replace(f"{mark}:", mark), mark
    for mark in (marks.DOUBT, marks.FLAGGED, marks.STOPPED):
        assert mark not in cells


def test_published_scores_stand_beside_the_measured_points(tables):
    text = (tables / "tables" / "correlation.md").read_text()
    points = text.split("## The points")[1].split("##")[0]
    cells = [cell.strip() for cell in re.search(r"^\| Qwen2.5-VL-3B .*$", points, re.MULTILINE)[0].split("|")]
    assert cells[4::2] == ["3.856", "48.0", "43.0"]  # table 1 of the paper
    assert re.search(r"\| InternVL3.5-4B\N{DOUBLE DAGGER} ", points)
