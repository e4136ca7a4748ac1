"""Wall time of a sweep of 12 runs against the CPU time of its runs, shared between the cores.

    taskset -c 0,1 python -m benchmarks.sweep [--steps 20000] [--jobs 2]

First every run by itself, one after the other: their CPU times. Then the whole command, from its first import
to its table of results, on as many cores. The machine must have nothing else to do.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gipo_cli.sweep.engine import ONE_THREAD, worker_command
from gipo_cli.sweep.manifest import StudyDir, write_study
from gipo_cli.sweep.plan import plan

LIMIT = 1.1


def cpu_seconds() -> float:
    """CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    grid = [
        "env=fetch_reach",
        f"total_steps={given.steps}",
        "objective=gipo,ppo_clip,sapo,no_clip",
        "seed=1,2,3",
    ]
    environment = os.environ | ONE_THREAD
    with tempfile.TemporaryDirectory() as folder:
        alone = StudyDir(Path(folder) / "alone")
        study = plan(grid, name="bench")
        write_study(alone, study, command="")
        for run in study.runs:
            subprocess.run(
                worker_command(alone, run.name), env=environment, check=True, stdout=subprocess.DEVNULL
            )
        cpu = cpu_seconds()
        begun = time.perf_counter()
        command = [sys.executable, "-m", "gipo_cli", "sweep", "--runs", folder, "--name", "bench"]
        subprocess.run([*command, "--jobs", str(given.jobs), *grid], env=environment, check=True)
        wall = time.perf_counter() - begun
    result = {
        "runs": len(study.runs),
        "steps": given.steps,
        "jobs": given.jobs,
        "cpu_seconds_of_single_runs": round(cpu, 1),
        "wall_seconds_of_sweep": round(wall, 1),
        "ratio": round(wall / (cpu / given.jobs), 3),
        "limit": LIMIT,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
