"""The main figure for phones: points stand where the values are, and nothing leaves the drawing."""

import xml.etree.ElementTree as ElementTree

import pytest

from vlm4vla.report.pages.phone_figure import WIDTH, phone_figure

SVG = "{http://www.w3.org/2000/svg}"


def row(model, benchmark, value, low=None, high=None, published=None):
    metric = "average_length" if benchmark == "calvin" else "success_rate"
    return {
        "model": model,
        "variant": "full",
        "benchmark": benchmark,
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "published": published,
    }


def drawn(*rows, **options):
    return ElementTree.fromstring(phone_figure(rows, "smoke", **options))


def test_points_are_on_the_axis():
    drawing = drawn(
        row("kosmos-2", "bridge", 0.25, 0.1, 0.5),
        row("random", "bridge", 0.0, 0.0, 0.2),
        row("expert", "bridge", 1.0, 0.9, 1.0),
        row("pi0", "bridge", 0.5, 0.4, 0.6, published=0.75),
    )
    lines = [
        {k: each.get(k) for k in ("x1", "x2", "y1", "y2", "stroke")} for each in drawing.iter(f"{SVG}line")
    ]
    (axis,) = [line for line in lines if line["stroke"] == "black"]
    left, right = float(axis["x1"]), float(axis["x2"])

    def value(x):
        return (float(x) - left) / (right - left)

    circles = [each.get("cx") for each in drawing.iter(f"{SVG}circle")]
    assert [value(x) for x in circles] == pytest.approx([0.25, 0.5], abs=1e-3)
    squares = [each for each in drawing.iter(f"{SVG}rect") if each.get("x")]
    middles = [value(float(each.get("x")) + float(each.get("width")) / 2) for each in squares]
    assert middles == pytest.approx([0, 1], abs=1e-3)
    (published,) = drawing.iter(f"{SVG}polygon")
    corners = [float(point.split(",")[0]) for point in published.get("points").split()]
    assert value(sum(corners) / 4) == pytest.approx(0.75, abs=1e-3)
    spans = [line for line in lines if line["y1"] == line["y2"] and line["stroke"] != "black"]
    ends = [(value(line["x1"]), value(line["x2"])) for line in spans]
    assert ends == [pytest.approx(pair, abs=1e-3) for pair in [(0.1, 0.5), (0, 0.2), (0.9, 1), (0.4, 0.6)]]


def test_each_benchmark_has_its_own_unit():
    drawing = drawn(row("kosmos-2", "calvin", 2.5, 2, 3), row("kosmos-2", "bridge", 0.5, 0.4, 0.6))
    words = [each.text for each in drawing.iter(f"{SVG}text")]
    assert {"CALVIN", "Bridge", "(smoke)", "5", "100 %"} <= set(words)
    first, second = (float(each.get("cx")) for each in drawing.iter(f"{SVG}circle"))
    bold = [float(each.get("x")) for each in drawing.iter(f"{SVG}text") if each.get("font-weight")]
    # Both values are the middle of their axes, under the titles.
    assert {round(first, 1), round(second, 1)} == {round(x, 1) for x in bold}


def test_long_names_take_several_lines_and_gaps_are_words():
    name = "a-backbone-with-a-very-long-name-of-its-own <b>"
    drawing = drawn(row(name, "bridge", None), row("kosmos-2", "bridge", 0.5, 0.4, 0.6))
    texts = list(drawing.iter(f"{SVG}text"))
    assert "".join(each.text for each in texts if each.get("text-anchor") == "end")[: len(name) - 4].replace(
        " ", ""
    ) == name[:-4].replace(" ", "")
    assert "not measured" in [each.text for each in texts]
    for each in texts:  # a character is at most 0.62 of the font size, 11, wide
        width, x = 0.62 * 11 * len(each.text), float(each.get("x"))
        left = x - {"start": 0, "middle": 0.5, "end": 1}[each.get("text-anchor")] * width
        assert left >= 0 and left + width <= WIDTH + 12


def test_too_many_benchmarks_have_no_drawing():
    assert phone_figure([], "smoke") is None
    assert phone_figure([row("kosmos-2", "calvin", 1, 1, 1) | {"metric": "success_at_1"}], "smoke") is None
