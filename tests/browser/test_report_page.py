"""The report in Chromium: its first screen on a desktop and on a phone, and what a visitor does there."""

from __future__ import annotations

import shutil

import pytest
from browser import OVERFLOW, PHONE, SCREEN, needs_browser, visit
from fast_yaml import load_yaml
from reported_study import HOSTILE, add_models, rename_study, report_text, write_results
from workflow_project import REPOSITORY

pytestmark = needs_browser

# The boxes in the window, and the smallest text of the page, all in CSS pixels.
BOX = """selector => { const box = document.querySelector(selector).getBoundingClientRect();
  return {left: box.left, top: box.top, right: box.right, bottom: box.bottom}; }"""
BOXES = f"""[...['#main-figure img', '.findings', '.findings li:last-child', '#graph']].map({BOX})"""
OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"
SIZES = """[...document.querySelectorAll('main *')].filter(each => [...each.childNodes].some(
  node => node.nodeType === 3 && node.textContent.trim()) && !each.closest('svg')
  && each.offsetParent).map(each => parseFloat(getComputedStyle(each).fontSize))"""
# Elements that are wider than the page and not in a box that scrolls.
WIDE = """[...document.querySelectorAll('main *')].filter(each => !each.parentElement.closest('.scroll')
  && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 90))"""
# Intervals in more than one line.
BROKEN = r"""[...document.querySelectorAll('td, span.number')].filter(each => each.children.length === 0
  && /\d \[[-+\d]/.test(each.textContent) && each.textContent.length < 41).filter(each => {
  const range = document.createRange(); range.selectNodeContents(each);
  return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1 })
  .map(each => each.textContent)"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    config = load_yaml((REPOSITORY / "config.yaml").read_text())
    return write_results(tmp_path_factory.mktemp("reported") / "embedded", config)


@pytest.fixture(scope="module")
def page(root):
    """The report of a study of 15 policies, under a hostile name."""
    copy = shutil.copytree(root, root.parent / "large")
    add_models(copy, 10)
    rename_study(copy, HOSTILE)
    (copy / "report.html").write_text(report_text(copy))
    rename_study(copy, "large")
    (copy / "plain.html").write_text(report_text(copy))
    return copy / "plain.html"


@pytest.mark.parametrize("size", [SCREEN, PHONE], ids=["screen", "phone"])
def test_the_first_screen(page, size):
    seen = visit(page, size, [("evaluate", BOXES), ("evaluate", OVERFLOW), ("evaluate", "scrollY")])
    figure, findings, last, graph = seen.values[0]
    for box in (figure, findings, last):
        assert 0 <= box["left"] < box["right"] <= size[0] and 0 <= box["top"] < box["bottom"] <= size[1]
    assert figure["right"] - figure["left"] > 300 and figure["bottom"] - figure["top"] > 100
    assert graph["top"] > size[1]
    assert seen.values[1:] == [0, 0]
    assert (seen.errors, seen.outside) == ([], [])


@pytest.mark.parametrize("size", [SCREEN, PHONE, (320, 568)], ids=["screen", "phone", "small"])
def test_the_whole_page_fits_and_is_readable(page, size):
    steps = [
        ("evaluate", OPEN),
        ("evaluate", OVERFLOW),
        ("evaluate", WIDE),
        ("evaluate", BROKEN),
        ("evaluate", SIZES),
    ]
    seen = visit(page, size, steps)
    assert seen.values[1:4] == [0, [], []]
    assert len(seen.values[4]) > 100 and min(seen.values[4]) >= 12
    assert (seen.errors, seen.outside) == ([], [])


def test_the_page_of_a_table_fits_a_phone_with_the_paths_of_its_records(page):
    long = "rollout: rollouts/my-backbone/fast-unfreeze-vision/full/libero-10/seed0/provenance.json"
    add = f"document.body.insertAdjacentHTML('beforeend', '<details><summary>{long}</summary></details>')"
    seen = visit(page.parent / "tables/main.html", PHONE, [("evaluate", add), ("evaluate", OVERFLOW)])
    assert seen.values[1] == 0 and (seen.errors, seen.outside) == ([], [])


def test_the_measures_notice_a_page_that_breaks(page):
    break_it = """document.head.insertAdjacentHTML('beforeend',
      '<style>.number, td { white-space: normal !important; } td { min-width: 0 !important; max-width: 4em; }'
      + ' .scroll { overflow: visible !important; }</style>')"""
    seen = visit(page, PHONE, [("evaluate", break_it), ("evaluate", OVERFLOW), ("evaluate", BROKEN)])
    assert seen.values[1] > 0 and seen.values[2]


def test_a_phone_sees_a_drawing_of_its_own_width(page):
    shown = "document.querySelector('#main-figure img').currentSrc.slice(0, 18)"
    seen = visit(page, PHONE, [("evaluate", shown), ("viewport", *SCREEN), ("evaluate", shown)])
    assert seen.values[::2] == ["data:image/svg+xml", "data:image/png;bas"]


def test_tables_are_sorted_and_filtered_one_by_one(page):
    column = "[...document.querySelectorAll('#table-main tbody')][0].rows"
    cells = f"[...{column}].map(row => row.cells[3].textContent)"
    steps = [
        ("click", "#table-main thead th:nth-child(4)"),
        ("evaluate", cells),
        ("click", "#table-main thead th:nth-child(4)"),
        ("evaluate", cells),
        ("fill", "#table-main input", "kosmos"),
        ("evaluate", f"[...{column}].filter(row => !row.hidden).length"),
        ("evaluate", "[...document.querySelectorAll('#table-correlation tbody tr')].some(row => row.hidden)"),
    ]
    seen = visit(page, SCREEN, steps)
    values = [[float(text.split()[0]) for text in seen.values[i]] for i in (1, 3)]
    assert len(values[1]) == 5 and values[1] == sorted(values[1])
    assert values[0] == values[1][::-1]  # the first click puts the highest score first
    assert seen.values[5:] == [0, False] and not seen.errors


def test_links_lead_to_their_places(page):
    links = """[...document.querySelectorAll('a[href^="#"]')].map(each => {
      each.click(); const goal = document.getElementById(each.getAttribute('href').slice(1));
      const box = goal.getBoundingClientRect();
      return [each.getAttribute('href'), !!goal.offsetParent, box.top < innerHeight && box.bottom > 0]; })"""
    seen = visit(page, SCREEN, [("evaluate", links)])
    assert len(seen.values[0]) > 10 and all(shown and near for _, shown, near in seen.values[0]), seen.values
    assert not seen.errors


def test_text_of_strangers_runs_nothing(page):
    seen = visit(page.with_name("report.html"), SCREEN, [("evaluate", OPEN), ("evaluate", "document.title")])
    assert seen.values[1] == f"Report of the study {HOSTILE}"
    assert (seen.errors, seen.outside) == ([], [])
