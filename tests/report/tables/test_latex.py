"""Every table's LaTeX compiles alone, in a document with two packages of a plain installation."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import synthetic_study as made

from vlm4vla.stages.table import run

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    pytest.mark.skipif(
        shutil.which("pdflatex") is None,
        reason="pdflatex is missing: apt-get install texlive-latex-base texlive-latex-recommended",
    ),
]
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
\input{%s}
\end{document}
"""


def compile_table(folder, table, fits=True):
    """Compile a document that holds the table alone; with `fits` nothing may run over a page or line."""
    (folder / f"only_{table}.tex").write_text(DOCUMENT % (folder / "tables" / f"{table}.tex"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"only_{table}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-1500:]
    told = [line for line in done.stdout.splitlines() if "Overfull" in line or "too large" in line]
    assert not (fits and told), told
    assert (folder / f"only_{table}.pdf").stat().st_size > 5000


@pytest.mark.parametrize("table", made.BACKBONE_TABLES)
def test_backbone_tables(study, tmp_path, table):
    _, episodes, capability, _ = study
    own = {"capability": capability} if table == "correlation" else {}
    run(made.settings(table), episodes=episodes, published=made.PUBLISHED, output=tmp_path, **own)
    compile_table(tmp_path, table)


@pytest.mark.parametrize("table", ["auxiliary", "fast_injection"])
def test_tables_of_fine_tuned_backbones(tuned, tmp_path, table):
    run(made.settings(table), output=tmp_path, **vars(tuned))
    compile_table(tmp_path, table)


def test_a_table_of_gaps(tmp_path):
    run(made.settings("main"), episodes=[], published=made.PUBLISHED, output=tmp_path)
    compile_table(tmp_path, "main", fits=False)  # it names some forty gaps below it
