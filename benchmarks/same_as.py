"""Train three configurations at another commit and here, and compare parameters and measurements to the bit.

python -m benchmarks.same_as REV
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT

RUNS = {
    "FetchReach, default": ["env=fetch_reach", "total_steps=12288", "eval.interval=6000"],
    "reach-v3, authors": [
        "preset=authors",
        "env.task=reach-v3",
        "total_steps=4000",
        "buffer.size=2000",
        "eval.episodes=5",
        "agent.update.lr_warmup=3",
    ],
    "Pendulum, sb3_ppo": ["preset=sb3_ppo", "env=gymnasium", "env.id=Pendulum-v1", "total_steps=6144"],
}
RENAMED: dict[str, str] = {}
"""Columns of ``metrics.csv`` under earlier names, and what they are called now."""
DIGEST = """
import hashlib, sys
from gipo_cli import load_run
for name, tensor in sorted(load_run(sys.argv[1]).policy.state_dict().items()):
    print(name, hashlib.sha256(tensor.numpy().tobytes()).hexdigest())
"""


def run_in(tree: Path, *words: str) -> str:
    """Standard output of Python with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", *words], cwd=tree, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{tree}: python {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def measured(path: Path) -> list[dict[str, str]]:
    """Rows of a ``metrics.csv``, times aside, under today's names."""
    with path.open(newline="") as file:
        return [
            {RENAMED.get(name, name): value for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def differences(tree: Path, words: list[str], folder: Path) -> list[str]:
    """What differs between a run at another commit and the same run here."""
    digests, rows = [], []
    for name, place in (("then", tree), ("now", ROOT)):
        run_in(place, "-m", "gipo_cli", "train", *words, "--quiet", "--runs", str(folder), "--name", name)
        digests.append(run_in(place, "-c", DIGEST, str(folder / name)).splitlines())
        rows.append(measured(folder / name / "metrics.csv"))
    found = [f"parameters: {a} against {b}" for a, b in zip(*digests, strict=True) if a != b]
    if len(rows[0]) != len(rows[1]):
        found.append(f"{len(rows[0])} rows against {len(rows[1])}")
    for before, after in zip(*rows, strict=False):
        common = before.keys() & after.keys()
        apart = sorted(name for name in common if before[name] != after[name])
        if apart or before.keys() - after.keys():
            found.append(f"step {before['step']}: {', '.join(apart or sorted(before.keys() - after.keys()))}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_as", description=__doc__)
    parser.add_argument("rev", help="the commit to compare with")
    rev = parser.parse_args().rev
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", tree, rev], check=True)
        try:
            for index, (title, words) in enumerate(RUNS.items()):
                found = differences(tree, words, Path(temporary) / str(index))
                failed |= bool(found)
                print(
                    f"{title}: {'the same to the bit' if not found else f'{len(found)} differences'}",
                    flush=True,
                )
                print("".join(f"  {line}\n" for line in found[:10]), end="")
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", tree], check=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
