"""Options of Snakemake that it drops in silence, or ends on with a traceback."""

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.config_layers import (
    VALUES,
    check_overrides,
    layer_files,
    refuse_faulty_layers,
    values_of,
)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ([], []),
        (["-n", "--configfile", "a.yaml", "b.yaml", "--cores", "1"], ["a.yaml", "b.yaml"]),
        (["--configfiles=a.yaml", "target"], ["a.yaml"]),
        (["target", "--configfile", "a.yaml"], ["a.yaml"]),
    ],
)
def test_the_files_of_a_command(words, files):
    assert [str(path) for path in layer_files(words)] == files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--configfile", "a", "--configfile", "b"], "there 2 times.*: write --configfile a b"),
        (["--configfile=a", "-n", "--configfiles", "b", "c"], "write --configfile a b c"),
        (["--configfile", "a.yml", "b.yml", "a.yml"], "a.yml is there 2 times: write each file once"),
        (["--configfile", ""], "an empty path"),
        (["--configfile", "a.yaml", "all_tables"], "no file 'all_tables'.*: .* before --configfile"),
    ],
)
def test_files_that_would_be_dropped(words, message):
    with pytest.raises(UserError, match=message) as error:
        layer_files(words)
    assert "\n" not in str(error.value)


def test_the_forms_of_an_option():
    words = ["-Ca=1", "--config", "b=2", "c=3", "-n", "target", "--config=d=4"]
    assert values_of(VALUES, words) == [["a=1"], ["b=2", "c=3"], ["d=4"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["image_size"], "'image_size' is not a key with a value: write KEY=VALUE"),
        (["=3"], "'=3' is not a key"),
        (["vla.steps=3"], r"write 'vla=\{steps: 3\}'"),
        (["a b=3"], "is not a key"),
        (["image_size=64", "image_size=96"], "image_size is there twice"),
        (["vla={steps: 3, steps: 4}"], "--config: vla: the key 'steps' stands in line 1 and again"),
        (["vla={steps: &a [*a]}"], "vla: the value in line 1 contains itself"),
        (["vla={steps: "], "vla: line 1 is not valid YAML"),
        (["seeds=[010]"], "seeds: line 1: YAML reads 010 as the number 8"),
        (
            ["image_size=64", "--config", "minimum_free_gb=1"],
            "write --config image_size=64 minimum_free_gb=1",
        ),
        (["image_size=64", "-C", "minimum_free_gb=1"], "reads only the last one"),
    ],
)
def test_values_that_would_be_dropped_or_end_in_a_traceback(values, message):
    with pytest.raises(UserError, match=message) as error:
        check_overrides(["-n", "--config", *values])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", [["image_size=64"], ["vla={'steps': 3}", "seeds=[0, 1]", "results="]])
def test_values_that_snakemake_reads(values):
    check_overrides(["--config", *values])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text("from vlm4vla.workflow import snakefile\n")
    (tmp_path / "config.yaml").write_text("study: x\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["--configfile", "missing.yaml"],
        ["--config", "x"],
        ["-s", "Snakefile", "--configfile", "missing.yaml"],
        ["--snakefile=Snakefile", "--configfile", "missing.yaml"],
        ["-d", ".", "--configfile", "missing.yaml"],
    ],
)
def test_the_command_ends_before_snakemake_reads_anything(folder, words, capsys):
    with pytest.raises(SystemExit) as end:
        refuse_faulty_layers(words, folder)
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--mode", "subprocess", "--config", "base64//e30="],  # a job, whose words Snakemake writes itself
        ["-s", "other/Snakefile", "--configfile", "missing.yaml"],  # no such workflow
    ],
)
def test_jobs_and_other_workflows_are_left_alone(folder, words):
    refuse_faulty_layers(words, folder)


def test_another_workflow_with_this_plugin_installed(tmp_path):
    (tmp_path / "Snakefile").write_text("rule a:\n    shell: 'true'\n")
    refuse_faulty_layers(["--configfile", "missing.yaml"], tmp_path)
