"""The documentation explains every column that the probe writes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from gipo_cli.analysis.probe import ProbeRow
from gipo_cli.analysis.swept import RIVALS
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_column_is_explained_once() -> None:
    text = (DOCS / "diagnostics.md").read_text()
    table = text[text.index("| column |") : text.index("`gradient` is the unit")]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    named = [name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert named == list(DIAGNOSTIC_COLUMNS)
    assert tuple(f.name for f in fields(ProbeRow)) == DIAGNOSTIC_COLUMNS[1:]


def test_the_verdict_covers_every_rival_and_shows_its_figures() -> None:
    text = (DOCS / "diagnostics.md").read_text()
    for rival in RIVALS:
        assert f"`{rival.name}`" in text or rival.name.startswith("gipo_")
    for image in re.findall(r"\]\((images/\S+)\)", text):
        assert (DOCS / image).is_file()
