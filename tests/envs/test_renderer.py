"""Environments that draw nothing are made whatever ``MUJOCO_GL`` says."""

import os
import sys

import pytest

from gipo_cli.envs.make import import_mujoco

MUJOCO = """
import os
if os.environ["MUJOCO_GL"] != "disable":
    raise {error}("no such renderer")
"""


@pytest.mark.parametrize("error", ["AttributeError", "ImportError", "RuntimeError", "OSError"])
def test_a_renderer_that_does_not_work_does_not_keep_mujoco_from_being_imported(error, tmp_path, monkeypatch):
    (tmp_path / "mujoco.py").write_text(MUJOCO.format(error=error))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "EGL")
    import_mujoco()
    assert sys.modules["mujoco"].__file__ == str(tmp_path / "mujoco.py")
    assert os.environ["MUJOCO_GL"] == "EGL"
    # Not left behind for other tests.
    monkeypatch.delitem(sys.modules, "mujoco")


def test_without_a_wish_mujoco_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    import_mujoco()
    assert "mujoco" not in sys.modules
