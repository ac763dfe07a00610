"""The last part of a table's page: it links each rollout to everything that the rollout was made from."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd

from vlm4vla.core.artefacts import file_hash
from vlm4vla.report.pages.records_section import HASH_DIGITS, records_section


class Reader(HTMLParser):
    """Collects link targets, ids and the texts of every grid row."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.rows, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open.append(tag)
        self.links += [attrs["href"]] if tag == "a" else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.rows += [[]] if tag == "tr" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.rows[-1].append(data)


def section(root, others=()):
    return records_section(root, "freeze", sorted(root.glob("rollouts/**/episodes.parquet")), others)


def test_each_rollout_has_a_row_with_its_hashes(traced):
    found = Reader(section(traced))
    files = sorted(traced.glob("rollouts/**/episodes.parquet"))
    rows = [row for row in found.rows if row]
    assert len(rows) == len(files) == 8
    for row, path in zip(rows, files, strict=True):
        frame = pd.read_parquet(path)
        assert row[1:5] == [str(frame[key][0]) for key in ("auxiliary", "variant", "benchmark", "seed")]
        assert row[5:8] == [
            str(len(frame)),
            file_hash(path)[:HASH_DIGITS],
            frame["checkpoint"][0][:HASH_DIGITS],
        ]
    assert found.open == []


def test_links_lead_from_a_rollout_to_questions_and_demonstrations(traced):
    text = section(traced)
    found = Reader(text)
    assert {link[1:] for link in found.links} == set(found.ids) and len(found.ids) == len(set(found.ids))
    stages = re.findall(r"<summary>(\w+): ", text)
    assert sorted(set(stages)) == ["backbone", "demonstrations", "questions", "rollout", "vla"]
    assert "All files match their records." in text


def test_a_changed_file_is_named(traced):
    (traced / "backbones/kosmos-2/model.safetensors").write_text("other")
    text = section(traced)
    assert "All files match their records" not in text
    assert "backbones/kosmos-2/model.safetensors: changed" in text


def test_other_artefacts_are_listed_with_the_rollouts(traced):
    folder = traced / "backbones/paligemma-1"
    assert records_section(traced, "freeze", [], [folder]) == ""  # no section without rollouts
    assert section(traced, [folder]).count("<summary>backbone: ") == 2
