"""A run from Python, as ``gipo train`` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gipo_cli.envs.resolve import resolve
from gipo_cli.errors import RunFailed
from gipo_cli.runs import layout
from gipo_cli.runs.status import read_status
from gipo_cli.settings.compose import compose
from gipo_cli.training import session


def train(
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    runs: str | Path | None = None,
    config_dirs: Sequence[str | Path] = (),
    quiet: bool = False,
) -> Path:
    """Train a new run, as ``gipo train OVERRIDES`` does.

    Args:
        overrides: Settings, such as ``["env=fetch_reach", "objective=sapo", "seed=3"]``.
        name: Its folder's name; None: made up from settings and time.
        runs: Folder of the runs; None: ``GIPO_RUNS``, or ``runs/``.
        config_dirs: Your own configuration folders.
        quiet: Show nothing but errors.

    Returns:
        The run's folder, for ``load_run`` and every command.

    Raises:
        UserError: A mistake in the settings; nothing was written.
        RunFailed: The run failed or was stopped, and why; ``gipo train --resume`` continues it.
    """
    lines = list(overrides)
    if name is not None:
        layout.check_name(name)
    config = compose(lines, config_dirs=[Path(folder) for folder in config_dirs]).config
    resolve(config.env)
    root = layout.runs_root(None if runs is None else Path(runs))
    path, command = root / (name or layout.default_name(config)), ["gipo", "train", *lines]
    if session.train(config, run_dir=path, overrides=lines, command=command, quiet=quiet, root=root):
        reason = read_status(layout.RunDir(path).status).reason
        raise RunFailed(f"{path} is not finished: {reason}")
    return path
