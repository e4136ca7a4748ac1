"""A worker that trains nothing: it does to a run's folder what training does, in the time that a test needs.

``behaviour.json`` in the study's folder says what becomes of the run with a seed: ``done`` (the default),
``fail``, ``hang`` for as long as it says so or until told to end, or ``deaf``: hang whatever it is told.
"""

import json
import re
import signal
import sys
import time
from pathlib import Path

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.status import StatusFile, read_status
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.state import what_is_lost

STEPS = 1536


def behaviour_of(folder: StudyDir, name: str) -> str:
    file = folder.path / "behaviour.json"
    seed = re.search(r"-s(\d+)-", name)
    assert seed is not None
    return json.loads(file.read_text()).get(f"s{seed[1]}", "done") if file.exists() else "done"


def work(folder: StudyDir, name: str) -> int:
    run = RunDir(folder.run(name))
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: told.append(got))
    folder.claims.mkdir(parents=True, exist_ok=True)
    with run_lock(folder.claim(name), beat_seconds=0.05):
        if lost := what_is_lost(run.path):
            raise UserError(lost)
        if run.exists() and read_status(run.status).state == "done":
            return 0
        run.path.mkdir(exist_ok=True)
        run.config.touch()
        status = StatusFile(run.status, total_steps=STEPS)
        status.beat(STEPS // 2, latest={"success": 0.5}, force=True)
        while (wanted := behaviour_of(folder, name)) in ("hang", "deaf"):
            if told and wanted == "hang":
                status.finish("interrupted", "stopped")
                return 128 + told[0]
            time.sleep(0.05)
        if wanted == "fail":
            status.finish("failed", f"at step {STEPS // 2}: loss is nan")
            sys.stderr.write("error: the last words\n")
            return 1
        status.beat(STEPS, force=True)
        status.finish("done")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(work(StudyDir(Path(sys.argv[-2])), sys.argv[-1]))
    except UserError as refusal:
        sys.stderr.write(f"error: {refusal}\n")
        sys.exit(2)
