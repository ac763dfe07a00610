"""The drawing of the workflow: depths of rules, arrows, and rules that need each other."""

import xml.etree.ElementTree as ElementTree

from vlm4vla.report.pages.rule_graph import RuleJobs, depths, ordered, rule_graph

CHAIN = [
    RuleJobs("a", frozenset(), 2),
    RuleJobs("b", frozenset({"a"}), 1),
    RuleJobs("c", frozenset({"a", "b"}), 1),
    RuleJobs("d", frozenset({"a"}), 1),
]


def test_a_rule_is_as_deep_as_its_longest_chain():
    assert depths(CHAIN) == {"a": 0, "b": 1, "c": 2, "d": 1}


def test_rules_that_need_themselves_or_later_rules_form_no_circle():
    rules = [RuleJobs("x", frozenset({"x", "y"})), RuleJobs("y", frozenset({"x", "unknown"}))]
    assert [(rule.name, set(rule.needs)) for rule in ordered(rules)] == [("x", set()), ("y", {"x"})]


def test_arrows_point_to_the_right_and_none_follows_from_others():
    drawing = ElementTree.fromstring(rule_graph(CHAIN))
    lines = [each.get("d").replace("M", "").split(" C")[0].split() for each in drawing.iter("path")]
    ends = [each.get("d").split()[-2:] for each in drawing.iter("path")]
    assert len(lines) == 3  # a-b, b-c and a-d; a-c follows from the first two
    assert all(float(start[0]) < float(end[0]) for start, end in zip(lines, ends, strict=True))
    boxes = [[float(each.get(key)) for key in ("x", "y", "width", "height")] for each in drawing.iter("rect")]
    width, height = (float(drawing.get(key)) for key in ("width", "height"))
    assert len(boxes) == 4 and all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for i, (x, y, w, h) in enumerate(boxes):
        assert all(abs(x - u) >= w or abs(y - v) >= h for u, v, _, _ in boxes[:i])  # no overlap


def test_names_are_text_and_no_rule_is_no_drawing():
    drawing = rule_graph([RuleJobs("<b>&", frozenset(), 1)])
    assert [each.text for each in ElementTree.fromstring(drawing).iter("text")] == ["<b>&", "1 job"]
    assert not list(ElementTree.fromstring(rule_graph([])).iter("rect"))
