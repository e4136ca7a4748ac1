"""The verdict of the exact study, in words and as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gipo_cli.analysis.exact_report import brief, standing, verdict, warning
from gipo_cli.analysis.exact_study import SIZES, Case, Outcome
from gipo_cli.analysis.frontier import Duel
from gipo_cli.analysis.gridworld import random_pairs

SAME = dict.fromkeys(SIZES, 1.0)
# Shares that do not add up to 1 exactly.
NEAR = Duel(0.9, -1e-17, 0.1, 0.5, SAME, SAME)
FAR = Duel(0.7, -1e-17, 0.3, 1.25, SAME, SAME)


def outcomes(pairs: int, *duels: Duel) -> list[Outcome]:
    drawn = random_pairs(pairs, 1.0, 0)
    return [
        Outcome(
            Case(*case, random_pairs), drawn, [], [], {}, {"raw": {"tis": one}, "scale_free": {"tis": one}}
        )
        for case, one in zip((("random", 1), ("lagged", 4)), duels, strict=False)
    ]


def test_one_row_per_rival_with_mean_shares_and_extreme_ratios():
    assert brief(outcomes(100, NEAR, FAR)) == [
        ["rival", "raw", "", "scale-free", ""],
        ["GIPO against", "lower/level/higher", "ratio", "lower/level/higher", "ratio"],
        ["tis", " 80/  0/ 20 %", "0.50-1.25", " 80/  0/ 20 %", "0.50-1.25"],
    ]


def test_no_share_is_minus_nothing():
    text = verdict(outcomes(100, NEAR, FAR))
    assert "-0" not in text
    assert "GIPO is lower at 80%, level at 0% and higher at 20% of the bias levels" in text
    assert "| random 1 | raw | 90% | 0% | 10% | 0.50 |" in text


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ((0.96, 0.0, 0.04), "dominates"),
        ((0.02, 0.95, 0.03), "level"),
        ((0.02, 0.5, 0.48), "dominated"),
        ((0.5, 0.0, 0.5), "mixed"),
    ],
)
def test_standing_puts_the_duel_in_a_word(shares, word):
    lower, equal, higher = shares
    (outcome,) = outcomes(2, replace(NEAR, lower=lower, equal=equal, higher=higher))
    assert standing(outcome, "raw", "tis") == word


def test_few_pairs_are_said_to_settle_nothing():
    assert warning(outcomes(20, NEAR)) == ""
    few = outcomes(19, NEAR)
    assert "settle" not in verdict(outcomes(20, NEAR))
    assert warning(few) == "Only 19 policy pairs per setting: so few settle nothing."
    assert f"**{warning(few)}**" in verdict(few)
