"""The dashboard in Chromium: sorting, choosing, comparing, a phone, no errors, and nothing from a network."""

from __future__ import annotations

import re
import shutil

import pytest
from browser import OVERFLOW, PHONE, SCREEN, needs_browser, visit
from listed_studies import finished, records

from vlm4vla import cli

pytestmark = needs_browser

NAMES = "[...document.querySelectorAll('.studies tbody th')].map(each => each.textContent)"
# Text that stands on more than one line although it must not.
BROKEN = """[...document.querySelectorAll('.whole, .number')].filter(each => {
  const range = document.createRange();
  range.selectNodeContents(each);
  const boxes = [...range.getClientRects()].filter(box => box.width);
  return boxes.some(box => box.top >= boxes[0].bottom || box.bottom <= boxes[0].top);
}).map(each => each.textContent)"""


def shown(part: str) -> str:
    return f"[...document.querySelectorAll('.comparison {part}')].map(each => each.textContent)"


def sort(column: int) -> tuple[str, str]:
    return ("click", f".studies thead th:nth-child({column}) button")


def choose(place: int) -> tuple[str, str]:
    return ("click", f'.studies input[value="{place}"]')


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Studies a (finished), b, c and z (broken); a and c share their states, and b has fewer."""
    root = tmp_path_factory.mktemp("results")
    finished(root / "a", 0.35, "2026-05-02T10:00:00Z")
    records(root / "b", 0.5, benchmarks=["bridge"], count=60)
    finished(root / "c", 0.8, "2026-05-01T10:00:00Z")
    records(root / "z", 0.5, models=["kosmos-2", "</script><b>"[2:8]])
    shutil.copytree(root / "a/tables", root / "z/tables")
    (root / "z/tables/main.csv").write_text("</script><script>alert(1)</script>\n")
    output = root / "dashboard.html"
    assert cli.main(["dashboard", str(root), "--output", str(output)]) == 0
    return output


def quiet(seen):
    assert (seen.errors, seen.outside) == ([], [])
    assert {url.partition("#")[0] for url in seen.requests if not url.startswith("file:")} == set()


def test_every_column_sorts_both_ways(page):
    steps = [("evaluate", NAMES)]
    for column in range(2, 10):
        steps += [sort(column), ("evaluate", NAMES), sort(column), ("evaluate", NAMES)]
    seen = visit(page, SCREEN, steps)
    quiet(seen)
    start, *orders = [value for value in seen.values if value is not None and isinstance(value, list)]
    assert start == ["a", "b", "c", "z"] and len(orders) == 16
    assert orders[0] == ["a", "b", "c", "z"] and orders[1] == ["z", "c", "b", "a"]
    state = orders[2:4]  # rows of the same state keep their order
    assert state[0] == ["c", "a", "b", "z"] and state[1] == ["z", "b", "c", "a"]
    date = orders[4:6]  # studies without a date stay last
    assert date[0][:2] == ["c", "a"] and date[1][:2] == ["a", "c"]
    assert all(sorted(order) == start for order in orders)


def test_two_studies_are_compared_with_the_numbers_of_compare(page, tmp_path, capsys):
    a, c = page.parent / "a", page.parent / "c"
    steps = [
        ("evaluate", "document.querySelectorAll('.comparison').length"),
        choose(0),
        choose(2),
        ("evaluate", shown("tbody tr")),
        ("evaluate", "document.querySelector('#chosen li').textContent"),
        ("evaluate", "document.querySelector('.controls select').value = '2'"),
        (
            "evaluate",
            "document.querySelector('.controls select').dispatchEvent(new Event('change'))",
        ),
        ("evaluate", shown("tbody tr")),
    ]
    seen = visit(page, SCREEN, steps)
    quiet(seen)
    before, rows, about, turned = seen.values[0], seen.values[3], seen.values[4], seen.values[7]
    assert before == 0 and "c minus a: 4 shared cells; higher in" in about
    for folders, lines in (((a, c), rows), ((c, a), turned)):
        capsys.readouterr()
        assert cli.main(["compare", *map(str, folders)]) == 0
        printed = [
            line.split("|")
            for line in capsys.readouterr().out.replace("\xa0", " ").splitlines()
            if "[" in line
        ]
        printed = [[word.strip() for word in words] for words in printed if len(words) == 9]
        assert len(printed) == len(lines) == 4
        for words in printed:
            _, policy, first, second, difference, test, _, adjusted, _ = words
            [line] = [each for each in lines if each.startswith(policy.partition(",")[0])]
            assert first in line and second in line and difference in line
            assert f"{adjusted} after Holm; {test}" in line
            apart = "0.00" in adjusted or float(adjusted.split()[-1]) < 0.05
            assert ("not told apart" in line) == (not apart)


def test_three_studies_a_filter_and_only_cells_told_apart(page):
    steps = [
        *(choose(place) for place in (0, 1, 2)),
        ("evaluate", shown("thead th")),
        ("evaluate", shown("tbody th")),
        ("fill", ".controls input[type=search]", "kosmos"),
        ("evaluate", shown("tbody th")),
        ("fill", ".controls input[type=search]", ""),
        ("click", ".controls input[type=checkbox]"),
        ("evaluate", shown("tbody tr")),
        choose(1),
        choose(2),
        ("evaluate", "document.querySelector('#chosen').textContent"),
    ]
    seen = visit(page, SCREEN, steps)
    quiet(seen)
    heads, cells, filtered, told, left = (seen.values[at] for at in (3, 4, 6, 9, 12))
    assert [head.split("\xa0")[0] for head in heads][2:] == [
        "a",
        "b",
        "c",
        "b minus baseline",
        "c minus baseline",
    ]
    assert len(cells) == 4 and filtered == ["Kosmos-2"]
    assert told and all("higher" in line or "lower" in line for line in told) and left == ""


def test_the_comparison_sorts(page):
    steps = [choose(0), choose(2)]
    for _ in range(2):
        steps += [
            ("click", ".comparison thead th:nth-child(3) button"),
            ("evaluate", shown("tbody td:nth-child(3)")),
        ]
    seen = visit(page, SCREEN, steps)
    quiet(seen)
    up, down = ([float(text.split()[0]) for text in seen.values[at]] for at in (3, 5))
    assert up == sorted(up) and down == sorted(down, reverse=True) and up[0] < up[-1]


@pytest.mark.parametrize("size", [SCREEN, PHONE])
def test_no_number_breaks_and_the_page_fits(page, size):
    opened = "document.querySelectorAll('details').forEach(each => { each.open = true })"
    steps = [
        choose(0),
        choose(1),
        choose(2),
        ("evaluate", opened),
        ("evaluate", OVERFLOW),
        ("evaluate", BROKEN),
    ]
    links = "[...document.querySelectorAll('.studies td.open a')]"
    visible = f"{links}.every(each => each.getBoundingClientRect().width > 0)"
    seen = visit(page, size, [*steps, ("evaluate", visible)])
    quiet(seen)
    assert seen.values[4:] == [0, [], True]


def test_a_bar_leads_to_the_comparison_while_it_is_out_of_sight(page):
    hidden = ("evaluate", "document.querySelector('.jump').hidden")
    gone = ("wait", "document.querySelector('.jump').hidden")
    seen = visit(page, (390, 500), [hidden, choose(0), hidden, choose(1), ("click", ".jump a"), gone])
    quiet(seen)
    assert seen.values[0] is True and seen.values[2] is False


def test_links_open_the_reports(page):
    links = "[...document.querySelectorAll('.open a')].map(each => each.href)"
    addresses = visit(page, SCREEN, [("evaluate", links)]).values[0]
    assert len(addresses) > 8
    wanted = [each for each in addresses if each.endswith(("a/tables/main.html", "a/report.html"))]
    assert len(wanted) == 2
    text = ("evaluate", "document.body.textContent")
    opened = visit(page, SCREEN, [step for each in wanted for step in (("goto", each), text)])
    assert "report.html" in opened.values[1] and "Kosmos-2" in opened.values[3]


def test_without_script_the_lists_are_shown(page, tmp_path):
    # The page with a policy of its own that allows no script
    text = re.sub("script-src &#x27;[^;]*;", "script-src &#x27;none&#x27;;", page.read_text())
    still = tmp_path / "still.html"
    still.write_text(text)
    buttons = "document.querySelectorAll('button').length"
    seen = visit(still, SCREEN, [("evaluate", NAMES), ("evaluate", buttons)])
    assert seen.values == [["a", "b", "c", "z"], 0]
