"""Right results or one sentence, and nothing written outside the folder.

Run folders damaged at random, checkpoints crafted by one who knows the format, odd values and environments,
and kills at the n-th operation on a file.

``FUZZ_CASES`` and ``FUZZ_SEED`` choose how many and which; a failure names the case that repeats it.
"""

import csv
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from gipo_cli.commands.app import main
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.settings.compose import compose
from gipo_cli.text import flatten
from gipo_cli.training.session import train

pytestmark = pytest.mark.fuzz

CASES = int(os.environ.get("FUZZ_CASES", "500"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
PATIENCE = 300
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
    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    with surroundings, patch.object(sys, "argv", ["gipo", *words]), patch.object(sys, "path", sys.path[:]):
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
        finally:
            signal.alarm(0)
    raise AssertionError("main returned")


def check(code: int, out: str, err: str, what: str) -> None:
    """An ending that a user may meet."""
    assert code in (0, 1, 2), what
    assert "Traceback" not in out + err, what
    assert "\x1b" not in out + err, what
    if code:
        assert err.startswith("error: "), what
        assert err.count("\n") == 1, what


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


@pytest.mark.parametrize("case", range(CASES * 5 // 10))
def test_a_damaged_folder(case: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    code, out, err = run(*COMMANDS[command])
    what = f"{command} after {', '.join(done)}: exit code {code}\n{out}\n{err}"
    check(code, out, err, what)
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


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON object, some random states left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if not (isinstance(key, int) and key > 5):
            yield (*path, key)
            yield from places(inner, (*path, key))


@pytest.mark.parametrize("case", range(CASES // 10))
def test_a_crafted_checkpoint(
    case: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(f"{SEED} crafted {case}")
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "runs" / "r"
    shutil.copytree(whole, copy)
    newest = max((copy / "checkpoints").glob("step_*"))
    state = json.loads((newest / "state.json").read_bytes())
    *parents, leaf = place = dice.choice(list(places(state)))
    section = state
    for name in parents:
        section = section[name]
    odd = dice.choice([None, -1, 1e308, "text", [], {}, True, 2.5, 10**30, ["x"], [[1]]])
    if dice.random() < 0.2:
        del section[leaf]
    else:
        section[leaf] = odd
    content = json.dumps(state).encode()
    (newest / "state.json").write_bytes(content)
    manifest = read_sealed(newest / "manifest.json")
    manifest["files"]["state.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_sealed(newest / "manifest.json", manifest)
    code, out, err = run(*COMMANDS["resume"])
    check(code, out, err, f"state.json {place} {odd!r}: exit code {code}\n{out}\n{err}")


@pytest.mark.parametrize("case", range(CASES // 10))
def test_an_odd_value(case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(f"{SEED} value {case}")
    monkeypatch.chdir(tmp_path)
    keys = sorted(flatten(compose(TINY).config.model_dump(mode="json")))
    typed = f"{dice.choice(keys)}={dice.choice(ODD)}"
    code, out, err = run("train", "--dry-run", *TINY, typed)
    check(code, out, err, f"{typed!r}: exit code {code}\n{out}\n{err}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", range(CASES // 10))
def test_an_odd_environment(case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(f"{SEED} environment {case}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "envs")
    odd_envs = importlib.import_module("odd_envs")
    kinds = [
        name for name, kind in vars(odd_envs).items() if getattr(kind, "__base__", None) is odd_envs.Base
    ]
    settings = [
        "seed=1",
        "env.n_envs=2",
        "env.action.kind=binned",
        "env.normalize_obs=true",
        "eval.env=training",
    ]
    typed = [f"env.id={dice.choice(sorted(kinds))}-v0", dice.choice(settings), dice.choice(settings)]
    code, out, err = run("train", "--name", "r", "--quiet", *TINY, "env.imports=[odd_envs]", *typed)
    check(code, out, err, f"{typed}: exit code {code}\n{out}\n{err}")


OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def killed_at(number: int, words: Sequence[str], log: Path) -> int | None:
    """Run a command in a fork that kills itself at an operation on its run's files; None if it did."""
    pid = os.fork()
    if pid == 0:
        left = number

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in OPERATIONS and "runs" in str(arguments[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        code = 99
        try:
            code, _, err = run(*words)
            log.write_text(err)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == -signal.SIGKILL else code


@pytest.mark.parametrize("case", range(CASES * 2 // 10))
def test_a_kill_at_an_operation_on_a_file(
    case: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(f"{SEED} kill {case}")
    monkeypatch.chdir(tmp_path)
    said = tmp_path / "said"
    kills, code = dice.choice([1, 1, 2, 3]), None
    while code is None:
        # The whole run makes some 250 of them.
        number = dice.randrange(1, 250) if kills > 0 else 0
        kills -= 1
        begun = Path("runs/r/config.yaml").exists()
        words = ["--resume", "r"] if begun else ["--name", "r", *TINY]
        code = killed_at(number, ["train", "--quiet", *words], said)
    # It may be killed after its last word.
    assert code == 0 or "has finished its 128 steps" in said.read_text(), said.read_text()
    for name in ("metrics.csv", "eval.csv"):
        assert timeless(tmp_path / "runs" / "r" / name) == timeless(whole / name), name
    assert not list((tmp_path / "runs" / "r").rglob(".tmp-*"))


def timeless(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]
