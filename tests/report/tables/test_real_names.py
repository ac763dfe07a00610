"""A benchmark on its real simulator is not called embedded, in any table of tiny backbones."""

import synthetic_study as made

from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.stages import table


def test_no_table_calls_a_real_benchmark_embedded(study, tuned, tmp_path, numbers_only):
    _, episodes, capability, curves = study
    inputs = {name: {"episodes": episodes} for name in made.BACKBONE_TABLES}
    inputs["main"]["curves"] = curves
    inputs["correlation"]["capability"] = capability
    own = {"episodes": tuned.episodes, "capability": tuned.capability, "auxiliary": tuned.auxiliary}
    inputs |= {"auxiliary": own, "fast_injection": own | {"fast": tuned.fast}}
    for name, given in inputs.items():
        settings = made.settings(name)
        for real in ([], settings.cells.benchmarks):
            shown = made.settings(name, real=real)
            table.run(shown, **given, published=made.PUBLISHED, output=tmp_path)
            text = (tmp_path / f"tables/{name}.md").read_text()
            for benchmark in settings.cells.benchmarks:
                title = BENCHMARKS[benchmark].title
                assert title in text and (f"{title} (embedded)" in text) == (not real), (name, benchmark)
