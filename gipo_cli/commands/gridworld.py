"""``gipo diagnose gridworld``: the exact study, from numbers to files."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, cast

from gipo_cli import __version__
from gipo_cli.commands.columns import aligned
from gipo_cli.commands.diagnose import SCREEN, check_free, writing_whole
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.analysis.exact_study import Outcome
    from gipo_cli.analysis.monte_carlo import Check

SAMPLES = 200_000
RECORD = "gridworld.csv"
HEADING = """\
GIPO (gaussian, both sides) against every rival on the exact GridWorld:
lower/level/higher  share of bias levels at which GIPO needs less, the same
                    (within 1 %) or more variance for the same bias
ratio               GIPO's variance over the rival's at equal bias, least to
                    greatest over the settings; below 1 GIPO is better
"""


def gridworld(
    out: Path,
    *,
    pairs: int = 100,
    points: int = 60,
    seed: int = 0,
    monte_carlo: bool = False,
    force: bool = False,
) -> list[str]:
    """Run the exact study and write ``gridworld.csv``, ``gridworld.json``, ``verdict.md`` and the figures.

    Args:
        out: folder to write; made, and must not exist or must be empty, but for ``force``.
        pairs: policy pairs per setting.
        points: knob values per family.
        seed: of the pairs.
        monte_carlo: also check exact numbers by sampling.
        force: replace an earlier study in ``out``.

    Returns: lines to print: the verdict in one line per rival, and where the whole of it is.
    Raises: UserError if ``out`` cannot be used or a count is too small.
    """
    if pairs < 2 or points < 4:
        raise UserError(
            f"the study needs at least 2 pairs and 4 points, got {pairs} and {points}; "
            "use --pairs 100 --points 60"
        )
    check_free(out, RECORD, "study", force=force)
    from gipo_cli.analysis.exact_report import brief, verdict, warning
    from gipo_cli.analysis.exact_study import run_study

    studies = run_study(pairs, points, seed)
    checks = _monte_carlo(studies, seed) if monte_carlo else []
    checked = _checked(checks)
    with writing_whole(out) as folder:
        _write_tables(folder, studies)
        _write_summary(folder, studies, checks, {"pairs": pairs, "points": points, "seed": seed})
        (folder / "verdict.md").write_text(
            verdict(studies) + (f"\n## Monte-Carlo check\n\n{checked}\n" if checked else "")
        )
        _draw(folder, studies)
    notes = [warning(studies), checked and f"Monte-Carlo check: {checked}"]
    said = ["", *(line for note in notes for line in wrap(note, SCREEN))]
    return [HEADING, *aligned(brief(studies), SCREEN), *said, f"setting by setting: {out / 'verdict.md'}"]


def _monte_carlo(studies: list[Outcome], seed: int) -> list[Check]:
    """Every objective at the middle of its grid, in every setting."""
    from gipo_cli.analysis.monte_carlo import check

    return [
        one
        for study in studies
        for swept, table in zip(study.swept, study.tables, strict=True)
        for one in check(study.pairs, swept, table.knob[len(table.knob) // 2 :][:1], SAMPLES, seed)
    ]


def _checked(checks: list[Check]) -> str:
    if not checks:
        return ""
    inside = sum(abs(c.z) < 2 for c in checks) / len(checks)
    worst = max(abs(c.z) for c in checks)
    return (
        f"{len(checks)} exact numbers against {SAMPLES:,} samples each: {inside:.0%} within two standard "
        f"errors, the largest deviation is {worst:.1f} standard errors."
    )


def _write_tables(out: Path, studies: list[Outcome]) -> None:
    from gipo_cli.analysis.exact_report import COLUMNS, rows

    with (out / RECORD).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows(studies))


def _write_summary(out: Path, studies: list[Outcome], checks: list[Check], arguments: dict[str, Any]) -> None:
    import numpy
    import torch

    summary = {
        "format": 1,
        "versions": {
            "gipo": __version__,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "arguments": arguments,
        "duels": [
            {
                "setting": s.case.kind,
                "distance": s.case.distance,
                "scale": scale,
                "rival": rival,
                **asdict(duel),
            }
            for s in studies
            for scale, rivals in s.duels.items()
            for rival, duel in rivals.items()
        ],
        "monte_carlo": [{**asdict(c), "z": c.z} for c in checks],
    }
    (out / "gridworld.json").write_text(json.dumps(summary, indent=1) + "\n")


def _draw(out: Path, studies: list[Outcome]) -> None:
    import matplotlib as mpl

    from gipo_cli.analysis.exact_figures import VARIANTS, duels, frontiers
    from gipo_cli.compare.style import LOOKS, OTHERS, RC

    looks = {**LOOKS, **dict(zip(VARIANTS[1:], OTHERS, strict=False))}
    with mpl.rc_context(cast(Any, RC)):
        figures = {
            "frontiers": frontiers(studies, looks, variants=False),
            "frontiers_variants": frontiers(studies, looks, variants=True),
            "duels": duels(studies),
        }
        for name, figure in figures.items():
            figure.savefig(out / f"{name}.png", dpi=120)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
