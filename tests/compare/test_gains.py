"""Success before and after, of runs that began as a clone."""

import json
from io import StringIO

import pytest
from rich.console import Console
from synthetic_runs import config, write_run

from gipo_cli.compare.gains import HEADINGS, gain_texts, gains
from gipo_cli.compare.gather import gather, search
from gipo_cli.compare.load import read_run
from gipo_cli.compare.present import print_comparison
from gipo_cli.compare.report import report_files
from gipo_cli.compare.summary import summarise
from gipo_cli.compare.tables import DamagedFile


def rates(mode, samples):
    return {"deterministic": mode, "stochastic": samples}


def write_trained(root, demonstrations, seed, before, after):
    """A run of `gipo posttrain --demos N`, whose file of demonstrations has the seed in its name."""
    path = f"runs/demos/push-v3-scripted-{demonstrations}-s{seed}.npz"
    tree = config(seed=seed, **{"demos.path": path, "demos.episodes": None, "init": "clone"})
    folder = write_run(root / f"{demonstrations}-{seed}", tree, [before, after])
    success = {"format": 1, "demonstrations": demonstrations}
    success["before"] = {"limit": rates(before, before / 2), "task": rates(None, before)}
    success["after"] = {"limit": rates(after, after / 2), "task": rates(after, after)}
    (folder / "success.json").write_text(json.dumps(success))
    return folder


@pytest.fixture
def runs(tmp_path):
    for seed, before, after in ((1, 0.2, 0.6), (2, 0.4, 0.8)):
        write_trained(tmp_path, 5, seed, before, after)
        write_trained(tmp_path, 10, seed, 0.5, 0.5)
    clone = write_run(tmp_path / "clone", config(total_steps=1, **{"init": None}), [0.2])
    (clone / "clone.json").write_text("{}")
    return tmp_path


def test_groups_are_numbers_of_demonstrations_and_a_clone_is_no_run(runs):
    comparison = gather(search([str(runs)]))
    labels = [arm.label for arm in comparison.arms]
    assert [label.split(", ")[1] for label in labels] == ["demonstrations 5", "demonstrations 10"]
    assert [len(cell.runs) for cell in comparison.cells.values()] == [2, 2]
    (out,) = comparison.left_out
    assert (out.path.name, out.kind) == ("clone", "clone")


def test_the_gain_by_hand(runs):
    comparison = gather(search([str(runs)]))
    found = {(gain.group, gain.limit, gain.policy): gain for gain in gains(comparison)}
    five = comparison.arms[0].label
    mode = found[five, "training's time limit", "mode"]
    assert (mode.runs, mode.before, mode.after) == (2, pytest.approx(0.3), pytest.approx(0.7))
    # Both runs gain 0.4, so every resample does.
    assert (mode.gain.value, mode.gain.low, mode.gain.high) == pytest.approx((0.4, 0.4, 0.4))
    assert found[five, "training's time limit", "samples"].gain.value == pytest.approx(0.2)
    assert found[five, "task's time limit", "samples"].before == pytest.approx(0.3)
    # What was not evaluated before has no gain.
    assert (five, "task's time limit", "mode") not in found
    (rows,) = gain_texts(comparison).values()
    assert rows[0] == [
        five,
        "2",
        "0.3 -> 0.7: 0.4 [0.4, 0.4]",
        "0.15 -> 0.35: 0.2 [0.2, 0.2]",
        "-",
        rows[0][5],
    ]


def test_it_is_printed_and_in_every_file_of_the_report(runs, monkeypatch):
    comparison, written = gather(search([str(runs)])), StringIO()
    rows = summarise(comparison)
    print_comparison(comparison, rows, None, Console(file=written, width=110))
    assert "0.3 -> 0.7: 0.4 [0.4, 0.4]" in written.getvalue()
    monkeypatch.setattr("gipo_cli.compare.report.FIGURES", ())
    files = report_files(comparison, rows)
    for name in ("report.html", "summary.md"):
        assert "Gain over the initial policy" in files[name].decode()
        assert all(heading in files[name].decode().replace("&#39;", "'") for heading in HEADINGS)
    assert len(json.loads(files["summary.json"])["gains"]) == 6


def test_a_rate_that_is_none_makes_a_damaged_run(runs):
    folder = runs / "5-1"
    (folder / "success.json").write_text('{"before": {"limit": {"deterministic": 7}}}')
    with pytest.raises(
        DamagedFile, match=r"success\.json has 7 as before\.limit\.deterministic, which is no rate"
    ):
        read_run(folder)
