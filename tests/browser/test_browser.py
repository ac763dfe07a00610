"""The helper of the tests in Chromium: it sees errors, requests and pages that are too wide."""

from __future__ import annotations

from browser import OVERFLOW, PHONE, SCREEN, needs_browser, visit

pytestmark = needs_browser


def test_a_faulty_page_is_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><title>x</title><img src='https://example.org/x.png'>"
        "<div style='width:600px;height:10px'></div><button onclick='document.title += 1'>go</button>"
        "<script>console.error('said'); setTimeout(() => { throw new Error('thrown') })</script>"
    )
    seen = visit(page, PHONE, [("evaluate", OVERFLOW), ("click", "button"), ("evaluate", "document.title")])
    assert seen.values[0] > 200 and seen.values[2] == "x1"
    assert seen.outside == ["https://example.org/x.png"]
    assert {"said", "thrown"} <= set(seen.errors)


def test_a_sound_page_is_quiet(tmp_path):
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(
        "<!doctype html><title>x</title><p>text<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>"
    )
    seen = visit(
        page,
        SCREEN,
        [("evaluate", "innerWidth"), ("viewport", *PHONE), ("evaluate", "innerWidth"), ("whole", picture)],
    )
    assert seen.values[::2] == [1440, 390] and picture.read_bytes()[:4] == b"\x89PNG"
    assert (seen.errors, seen.outside) == ([], [])
