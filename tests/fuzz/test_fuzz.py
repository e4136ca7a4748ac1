"""Run folders damaged at random: right results or one sentence, and nothing written outside the folder.

``FUZZ_CASES`` and ``FUZZ_SEED`` choose how many and which; a failure names the case that repeats it.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from gipo_cli.commands.app import main
from gipo_cli.settings.compose import compose
from gipo_cli.training.session import train

pytestmark = pytest.mark.fuzz

CASES = int(os.environ.get("FUZZ_CASES", "500"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
PATIENCE = 60
TINY = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "env.max_episode_steps=30",
    "env.n_envs=1",
    "total_steps=128",
    "buffer.size=128",
    "agent.rollout_steps=64",
    "agent.policy.hidden=[8]",
    "agent.update.rounds=1",
    "agent.update.batch_size=16",
    "eval.interval=64",
    "eval.episodes=1",
    "checkpoint.interval=64",
    "runtime.env_timeout_s=null",
]
COMMANDS = {
    "show": ["show", "r"],
    "list": ["list", "runs"],
    "eval": ["eval", "r", "--json"],
    "compare": ["compare", "r", "whole", "--out", "report"],
    "resume": ["train", "--resume", "r", "--quiet", "total_steps=192"],
}
ODD = [
    "null",
    "-1",
    "1e308",
    "NaN",
    "[]",
    "{}",
    '"text"',
    "9" * 400,
    "\x1b[31m",
    "&a [*a]",
    "true",
    "../../x",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "whole"
    assert train(compose(TINY).config, run_dir=path, overrides=TINY, command=["gipo"], quiet=True) == 0
    return path


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    surroundings = patch.dict(os.environ, {"GIPO_RUNS": "runs", "NO_COLOR": "1"})
    with surroundings, patch.object(sys, "argv", ["gipo", *words]), patch.object(sys, "path", sys.path[:]):
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("main returned")


def damage(folder: Path, dice: random.Random, canary: Path) -> str:
    """Do one thing to one file, and say what."""
    file = dice.choice(sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))
    kind = dice.choice(
        ["flip", "cut", "blank", "empty", "gone", "link", "fifo", "folder", "value", "garbage"]
    )
    content = file.read_bytes()
    at = dice.randrange(len(content)) if content else 0
    if kind in ("gone", "link", "fifo", "folder"):
        file.unlink()
    if kind == "flip" and content:
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :])
    elif kind == "cut":
        file.write_bytes(content[:at])
    elif kind == "blank":
        file.write_bytes(content[:at] + bytes(len(content) - at))
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "link":
        file.symlink_to(canary)
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "garbage":
        file.write_bytes(dice.randbytes(1000))
    elif kind == "value":
        lines = content.decode("utf-8", "replace").split("\n")
        line = dice.randrange(len(lines))
        lines[line] = lines[line].partition(":")[0] + ": " + dice.choice(ODD)
        file.write_text("\n".join(lines))
    return f"{kind} {file.relative_to(folder)}"


def outside(folder: Path) -> dict[str, bytes]:
    """What lies beside the damaged run and must not change."""
    files = (path for path in folder.rglob("*") if path.is_file() and "runs/r/" not in path.as_posix())
    return {path.as_posix(): path.read_bytes() for path in files if "report" not in path.parts}


def late(*_: object) -> None:
    raise TimeoutError(f"no answer within {PATIENCE} s")


@pytest.mark.parametrize("case", range(CASES))
def test_right_results_or_one_sentence(
    case: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(f"{SEED} {case}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary").write_text("mine\n")
    for name in ("r", "whole"):
        shutil.copytree(whole, tmp_path / "runs" / name)
    done = [
        damage(tmp_path / "runs" / "r", dice, tmp_path / "canary")
        for _ in range(dice.choice([1, 1, 1, 2, 4]))
    ]
    command = dice.choice(sorted(COMMANDS))
    before = outside(tmp_path)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        code, out, err = run(*COMMANDS[command])
    finally:
        signal.alarm(0)
    what = f"{command} after {', '.join(done)}: exit code {code}\n{out}\n{err}"
    assert code in (0, 1, 2), what
    assert "Traceback" not in out + err, what
    assert "\x1b" not in out + err, what
    if code:
        assert err.startswith("error: "), what
        assert err.count("\n") == 1, what
    assert outside(tmp_path) == before, what
    if command == "eval" and code == 0:
        report = json.loads(out)
        # A damaged checkpoint is named, and the one before it takes its place.
        assert report["step"] == 128 or report["notes"], what
        assert report["returns"] == healthy(whole, report["step"]), what


def healthy(whole: Path, step: int) -> list[float]:
    code, out, _ = run("eval", str(whole), "--json", "--checkpoint", str(step))
    assert code == 0
    returns: list[float] = json.loads(out)["returns"]
    return returns
