from itertools import count

import pytest
from synthetic_runs import write_run

from gipo_cli.compare.load import read_run


@pytest.fixture
def make(tmp_path):
    """Loaded runs from configurations, or from pairs of a configuration and its success rates."""
    number = count()

    def made(*runs):
        folders = []
        for run in runs:
            tree, success = run if isinstance(run, tuple) else (run, [0.5])
            folders.append(write_run(tmp_path / f"run{next(number)}", tree, success))
        return [read_run(folder) for folder in folders]

    return made
