"""`vlm4vla dashboard`: a static page that lists the studies of a results folder and compares them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vlm4vla.core.artefacts import write_text
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.report.dashboard.entries import BROKEN, FINISHED, PARTIAL, read_entry
from vlm4vla.report.dashboard.folders import study_folders
from vlm4vla.report.dashboard.page import dashboard_page
from vlm4vla.report.dashboard.pairs import chosen, comparison_data

OUTPUT = Path("dashboard.html")
COMPARED = 12


def run(results: Path, output: Path = OUTPUT, compared: int = COMPARED) -> None:
    """Write the page about all studies in and below the folder `results` to the file `output`.

    `compared`: the number of studies that are compared in pairs, the newest first. The same studies give the
    same bytes. Raises UserError for a folder without studies, and for an `output` that is no .html file.
    """
    if output.suffix != ".html" or output.is_dir():
        raise UserError(f"--output {str(output)!r}: write the name of a file that ends in .html")
    if compared < 0:
        raise UserError(f"--compared {compared}: write 0 or a larger number")
    folders, unreadable = study_folders(results)
    if not folders and not unreadable:
        raise UserError(
            f"{str(results)!r}: no study is in or below this folder: write a folder such as results, or run "
            "a study first"
        )
    name = results.resolve().name or str(results)
    labels = [name if each == results else each.relative_to(results).as_posix() for each in folders]
    entries = [read_entry(folder, one_line(label)) for folder, label in zip(folders, labels, strict=True)]
    places = chosen(entries, compared)
    data = comparison_data(entries, places)
    page = dashboard_page(name, entries, places, data, list(map(one_line, unreadable)), output)
    # Names that are not UTF-8 are written with escapes.
    write_text(output, page.encode("utf-8", "backslashreplace").decode("utf-8"))
    states = Counter(entry.state for entry in entries)
    counted = ", ".join(f"{states[each]} {each}" for each in (FINISHED, PARTIAL, BROKEN))
    print(f"{output}: {len(entries)} {'study' if len(entries) == 1 else 'studies'} ({counted})")
