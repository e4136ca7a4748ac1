import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gipo_cli.loggers.terminal import Display, print_summary
from gipo_cli.runs.layout import RunDir
from gipo_cli.streams import lasting_console

STEP = 12_345
ROW = {
    "iteration": 9,
    "train/return": -1234.5678,
    "train/success": 0.854,
    "health/utilisation": 0.981,
    "health/ess": 0.912,
    "health/lag_mean": 12.34,
    "health/lag_max": 56,
    "buffer/size": 4096,
}
EVALUATION = {"eval/return_mean": 4321.9, "eval/success": 1.0}
TITLE = "metaworld/pick-place-wall-v3 gipo"


def screen(width, *, terminal=True):
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False
    )


def panel(width, display):
    console = screen(width)
    console.print(display.render())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_panel_shows_everything_on_seven_lines(width):
    display = Display(TITLE, 1_000_000, name="first", capacity=20_000, console=screen(width))
    display.scalars(ROW, STEP)
    display.scalars(EVALUATION, STEP)
    lines = panel(width, display)
    assert len(lines) == 7
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for part in (f"first  {TITLE}", "1% of 1,000,000 steps", "steps/s", "elapsed", "left", "-1235"):
        assert part in text
    for part in ("85%", "4322", "100%", "buffer 4,096 of 20,000", "return  ▄"):
        assert part in text
    for part in ("98%", "0.91", "12.3 (max 56)", "…"):
        assert (part in text) == (part != "…")


def test_before_anything_is_known():
    lines = panel(80, Display(TITLE, 500, console=screen(80)))
    assert len(lines) == 7
    assert "nan" not in "".join(lines)


def test_numbers_that_are_missing_or_not_finite_are_dashes():
    display = Display(TITLE, 500, console=screen(80))
    display.scalars({"iteration": 1, "train/return": float("nan")}, 100)
    assert "train return - success -" in display.line()


def test_a_hundred_percent_means_finished():
    display = Display(TITLE, 100_000, console=screen(80))
    display.scalars({"iteration": 1}, 99_999)
    assert "99%" in display.line()
    display.scalars({"iteration": 2}, 100_400)
    assert "100%" in display.line()
    assert "0:00:00 left" in display.line()


def test_markup_in_a_title_is_text():
    assert "[red]" in panel(80, Display("[red]x[/]", 5, console=screen(80)))[0]


def test_a_terminal_sees_a_live_panel_with_notes_above_it():
    console = screen(80)
    with Display(TITLE, 20_000, console=console) as display:
        display.scalars(ROW, STEP)
        display.note("checkpoint [1] saved")
    text = console.file.getvalue()
    assert "checkpoint [1] saved" in text
    assert "[bold]" not in text
    assert "[dim]" not in text
    # The cursor is hidden while the panel moves, and shown again.
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.rstrip().splitlines()[-3].startswith("evaluation")


def test_elsewhere_plain_lines_appear_now_and_then():
    console = screen(80, terminal=False)
    with Display(TITLE, 20_000, console=console) as display:
        for step in range(1, 100):
            display.scalars(ROW, step)
    lines = console.file.getvalue().splitlines()
    # The title, the first, and the last when it ends.
    assert [line.split(" | ")[0] for line in lines] == [TITLE, "1/20000 0%", "99/20000 0%"]
    assert "\x1b" not in console.file.getvalue()


def test_the_last_line_knows_the_evaluation_at_the_end():
    console = screen(80, terminal=False)
    with Display(TITLE, 512, console=console) as display:
        display.scalars(ROW, 512)
        display.scalars(EVALUATION, STEP)
    assert [line.split(" | ")[3] for line in console.file.getvalue().splitlines()[1:]] == [
        "eval return - success -",
        "eval return 4322 success 100%",
    ]


def test_quiet_says_nothing():
    for terminal in (True, False):
        console = screen(80, terminal=terminal)
        with Display(TITLE, 20_000, console=console, quiet=True) as display:
            display.scalars(ROW, STEP)
            display.note("x")
        assert console.file.getvalue() == ""


def test_an_error_leaves_the_terminal_usable():
    console = screen(80)
    with pytest.raises(KeyError), Display(TITLE, 5, console=console):
        raise KeyError
    assert console.file.getvalue().count("\x1b[?25l") == console.file.getvalue().count("\x1b[?25h")


def test_the_summary_can_be_pasted_into_a_shell(tmp_path):
    console = screen(20, terminal=False)
    run = RunDir(Path("my runs/a"))
    print_summary(console, run, tensorboard=True)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "results in my runs/a"
    assert lines[1:] == [
        "  gipo show 'my runs/a'",
        "  gipo eval 'my runs/a'",
        "  gipo video 'my runs/a'",
        "  tensorboard --logdir 'my runs/a/tb'",
    ]


def test_an_ascii_terminal_is_enough():
    code = (
        "from gipo_cli.loggers.terminal import Display\n"
        "with Display('t', 10) as d:\n"
        "    d.scalars({'iteration': 1, 'train/return': 2.0}, 5)\n"
        "    d.console.print(d.render())"
    )
    result = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_a_reader_that_leaves_does_not_end_the_run(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom gipo_cli.loggers import terminal as display\n"
        "display.LINE_SECONDS = 0\n"
        "with display.Display('a run', 100) as shown:\n"
        "    for step in range(1, 51):\n"
        "        shown.scalars({'iteration': step}, step)\n"
        "        time.sleep(0.01)\n"
        "Path(sys.argv[1]).write_text('finished')"
    )
    end = tmp_path / "end"
    process = subprocess.Popen(
        [sys.executable, "-c", code, end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "a run\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 0, process.stderr.read()
    assert end.read_text() == "finished"
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_log_file_gets_no_panel_whatever_force_color_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    console = lasting_console()
    assert not console.is_terminal
    console.print("[red]one[/]")
    assert "\x1b" not in sys.stdout.getvalue()


UNREAD = """
import os, sys
from pathlib import Path
from gipo_cli.loggers.terminal import Display, print_summary
from gipo_cli.runs.layout import RunDir
sys.stdin.readline()
with Display("a run", 100) as shown:
    shown.note("x" * 100_000)
    print_summary(shown.console, RunDir(Path("r")), tensorboard=True)
Path(sys.argv[1]).write_text("finished")
"""


@pytest.mark.parametrize("kind", ["full disk", "terminal that went away"])
def test_a_stream_that_fails_is_let_go(tmp_path, kind):
    terminal, stream = (
        os.openpty() if kind.startswith("terminal") else (None, os.open("/dev/full", os.O_WRONLY))
    )
    command = [sys.executable, "-c", UNREAD, tmp_path / "end"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=stream, stderr=pipe) as process:
        os.close(stream)
        if terminal is not None:
            os.close(terminal)
        errors = process.communicate(b"go\n", timeout=100)[1]
    assert (process.returncode, errors) == (0, b"")
    assert (tmp_path / "end").read_text() == "finished"
