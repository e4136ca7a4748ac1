"""The whole ``gipo`` command, with what is around it, in the process of the tests."""

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from gipo_cli.commands.app import main

RICH_ENV = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def surroundings(**extra: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIPO_")} | RICH_ENV | extra


def gipo(*args: object, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    words = list(map(str, args))
    with (
        patch.dict(os.environ, surroundings(**extra), clear=True),
        patch.object(sys, "argv", ["gipo", *words]),
        patch.object(sys, "path", sys.path[:]),
        chdir(cwd),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return subprocess.CompletedProcess(words, end.value.code or 0, out.getvalue(), err.getvalue())
