"""``gipo export``: a run's policy as a program, with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option, echo

from gipo_cli.commands.options import Checkpoint, Run, RunsRoot, Trust, open_run


def export(
    run: Run,
    out: Annotated[Path | None, Option(metavar="FOLDER", help="folder to make (RUN/export-STEP)")] = None,
    checkpoint: Checkpoint = "last",
    onnx: Annotated[bool, Option("--onnx", help="write policy.onnx too (needs the extra onnx)")] = False,
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Export the policy as a torch.export program or ONNX, with a model card."""
    found = open_run(run, runs)
    from gipo_cli.training.export import export_run

    folder = export_run(found.path, out, checkpoint, onnx=onnx, trust=trust)
    echo(f"{folder}: {', '.join(sorted(entry.name for entry in folder.iterdir()))}")
