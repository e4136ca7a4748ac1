import io

import numpy as np
import pytest
from rich.console import Console
from synthetic_runs import config, write_run

from gipo_cli.compare import plot as plots
from gipo_cli.compare.canvas import Panel
from gipo_cli.compare.chart import chart
from gipo_cli.compare.comparison import build_comparison
from gipo_cli.compare.figures_time import column_panel
from gipo_cli.compare.selection import Criterion
from gipo_cli.compare.style import variant_looks
from gipo_cli.errors import UserError

SUCCESS = Criterion("eval", "success")


def drawn(make, *rates, width=31, **kwargs):
    runs = make(*((config(name, seed=1), rate) for name, rate in zip(("gipo", "sapo"), rates, strict=False)))
    comparison = build_comparison(runs, SUCCESS)
    cells = comparison.of(comparison.environments[0])
    look = variant_looks((arm.objective, arm) for arm in comparison.arms)
    return chart(column_panel(Panel("", cells), SUCCESS, cells), look, width, **kwargs).plain.splitlines()


def test_a_straight_line_goes_from_corner_to_corner(make):
    lines = drawn(make, [0, 0.5, 1], plain=True)
    assert lines[0] == "success rate"
    # 20 columns and 10 rows: two letters in each row.
    assert lines[1:11] == [
        f"{ {0: '1', 9: '0'}.get(row, ''):>10}|{' ' * (18 - 2 * row)}**{' ' * 2 * row}" for row in range(10)
    ]
    assert lines[11] == f"{'':10}+{'-' * 20}"
    assert lines[12].split() == ["33.33k", "100k", "steps"]
    assert lines[13].strip() == "-- GIPO (n=1): 1 at the end"


def test_two_groups_and_a_level_one(make):
    lines = drawn(make, [0.25, 0.25], [0.25, 0.25])
    assert [line[:11].strip() for line in lines if "⠉" in line] == ["0.25│"]
    assert len([line for line in lines if "at the end" in line]) == 2


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", config(), np.linspace(0, 1, 5), state="running")


def test_one_unfinished_run_is_enough_and_an_earlier_plot_is_replaced(run, tmp_path):
    screen, out = Console(file=io.StringIO(), width=80), tmp_path / "plot.png"
    for _ in range(2):
        plots.plot([str(run)], out=out, metric="success", console=screen)
    assert out.read_bytes().startswith(b"\x89PNG")
    text = screen.file.getvalue()
    assert "GIPO (n=1): 1 at the end" in text
    assert f"written to {out}" in text
    assert max(map(len, text.splitlines()[:15])) <= 80


def test_what_it_did_not_write_is_left_alone(run, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"\x89PNG mine")
    for name, words in (("mine.png", "exists and is no earlier plot"), ("plot.pdf", "is no .png file")):
        with pytest.raises(UserError, match=words):
            plots.plot([str(run)], out=tmp_path / name, metric="success", console=Console(quiet=True))
    assert (tmp_path / "mine.png").read_bytes() == b"\x89PNG mine"
    assert not (tmp_path / "plot.pdf").exists()
