"""The verdict of the exact study, in words and as a table."""

from dataclasses import dataclass

import numpy as np

from gipo_cli.analysis.exact_report import brief, verdict, warning
from gipo_cli.analysis.exact_settings import SIZES
from gipo_cli.analysis.frontier import Duel


@dataclass
class Setting:
    name: str


@dataclass
class Pairs:
    log_pi: np.ndarray


@dataclass
class Study:
    setting: Setting
    pairs: Pairs
    duels: dict[str, dict[str, Duel]]


def studies(pairs: int) -> list[Study]:
    """Two settings in which shares do not add up to 1 exactly."""
    same = {size: 1.0 for size in SIZES}
    near = Duel(0.9, -1e-17, 0.1, 0.5, same, same)
    far = Duel(0.7, -1e-17, 0.3, 1.25, same, same)
    return [
        Study(
            Setting(name), Pairs(np.zeros((pairs, 3, 4))), {"raw": {"tis": duel}, "scale_free": {"tis": duel}}
        )
        for name, duel in (("random 1", near), ("lagged 4", far))
    ]


def test_one_row_per_rival_with_mean_shares_and_extreme_ratios():
    assert brief(studies(100)) == [
        ["rival", "raw", "", "scale-free", ""],
        ["GIPO against", "lower/level/higher", "ratio", "lower/level/higher", "ratio"],
        ["tis", " 80/  0/ 20 %", "0.50-1.25", " 80/  0/ 20 %", "0.50-1.25"],
    ]


def test_no_share_is_minus_nothing():
    text = verdict(studies(100))
    assert "-0" not in text
    assert "GIPO is lower at 80%, level at 0% and higher at 20% of the bias levels" in text
    assert "| random 1 | raw | 90% | 0% | 10% | 0.50 |" in text


def test_few_pairs_are_said_to_settle_nothing():
    assert warning(studies(20)) == ""
    assert "settle" not in verdict(studies(20))
    assert warning(studies(19)) == "Only 19 policy pairs per setting: so few settle nothing."
    assert f"**{warning(studies(19))}**" in verdict(studies(19))
