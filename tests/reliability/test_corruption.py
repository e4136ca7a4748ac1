"""Any file of a run folder damaged in any way: a sentence, never a traceback, and never other numbers."""

import csv
import random
import shutil

import pytest
from typer.testing import CliRunner

from gipo_cli import load_run
from gipo_cli.commands.app import app
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.training.session import resume

FURTHER = ["total_steps=384"]
UNREAD = ("log.txt", ".lock")
"""Written for people, or empty of meaning once its process has ended."""


def tables(run_dir):
    found = []
    for name in ("metrics.csv", "eval.csv"):
        with (run_dir / name).open(newline="") as file:
            rows = csv.DictReader(file)
            found.append([{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows])
    return found


def go_on(run_dir):
    """Resume; what it said, and whether it was refused."""
    try:
        assert resume(run_dir, overrides=FURTHER, allow_changes=False, quiet=True) in (0, 1)
    except (UserError, RunFailed) as error:
        return str(error), True
    return "", False


@pytest.fixture(scope="module")
def expected(run, tmp_path_factory):
    copy = tmp_path_factory.mktemp("expected") / "r"
    shutil.copytree(run, copy)
    assert go_on(copy) == ("", False)
    return tables(copy)


def damaged(content, dice, kind=None):
    """Flipped, cut, with a hole, longer, empty, and gone (None)."""
    kinds = ["flip", "cut", "hole", "longer", "empty", "gone"] if content else ["longer", "gone"]
    kind = kind or dice.choice(kinds)
    place = dice.randrange(len(content)) if content else 0
    if kind == "flip":
        return kind, content[:place] + bytes([content[place] ^ (1 << dice.randrange(8))]) + content[
            place + 1 :
        ]
    if kind == "hole":
        return kind, content[:place] + content[place + dice.randint(1, 64) :]
    return kind, {"cut": content[:place], "longer": content + b"\0", "empty": b"", "gone": None}[kind]


def check(run, expected, name, dice, folder, kind=None):
    copy = folder / "r"
    shutil.copytree(run, copy)
    path = copy / name
    kind, content = damaged(path.read_bytes(), dice, kind)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    what = f"{name} {kind}"
    shown = CliRunner().invoke(app, ["show", str(copy)])
    assert shown.exit_code == 0 or isinstance(shown.exception, UserError | SystemExit), (
        what,
        shown.exception,
    )
    try:
        load_run(copy)
    except UserError as error:
        said = str(error)
        if "\n" in said.strip():
            raise AssertionError(what) from error
    said, refused = go_on(copy)
    log = (copy / "log.txt").read_text(errors="replace") if (copy / "log.txt").exists() else ""
    assert "Traceback" not in log + said, what
    if refused:
        assert said, what
    else:
        assert tables(copy) == expected, what
        newest = max((run / "checkpoints").glob("step_*")).name
        parts = name.split("/")
        used = parts[0] != "checkpoints" or parts[1] == newest
        mentioned = parts[1] if parts[0] == "checkpoints" and len(parts) > 2 else parts[-1]
        # What stands behind the checkpoint's position is what any kill leaves: it is cut off. Event files
        # only listen: nothing is read from them.
        cut_off = (kind == "longer" and name.endswith(".csv")) or name.startswith("tb/")
        assert not used or cut_off or name in UNREAD or mentioned in log, f"{what}: accepted in silence"
    # What was not damaged is still there as it was.
    for step in (run / "checkpoints").glob("step_*"):
        if not name.startswith(f"checkpoints/{step.name}/"):
            for file in step.iterdir():
                left = copy / "checkpoints" / step.name / file.name
                assert left.read_bytes() == file.read_bytes(), (what, step.name)
    shutil.rmtree(copy)


def names(run):
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def test_files_damaged_once(run, expected, tmp_path):
    dice = random.Random(7)
    found = names(run)
    assert {"config.yaml", "metrics.csv", "checkpoints/best.json"} <= set(found)
    saved = [name for name in found if name.count("/") == 2]
    for name in [*sorted(set(found) - set(saved)), *dice.sample(saved, 8)]:
        check(run, expected, name, dice, tmp_path)
    newest = max((run / "checkpoints").glob("step_*")).name
    for name in ("buffer.obs.npy", "buffer.advantage.npy", "optimizer.pt", "policy.pt"):
        check(run, expected, f"checkpoints/{newest}/{name}", dice, tmp_path, "flip")


@pytest.mark.long
def test_each_file_damaged_six_times(run, expected, tmp_path):
    dice = random.Random(12)
    tried = names(run) * 6
    assert len(tried) > 300
    for name in tried:
        check(run, expected, name, dice, tmp_path)
