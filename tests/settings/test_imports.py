import sys

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.imports import import_user_modules


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return tmp_path


@pytest.mark.parametrize("name", ["test", "random", "queue", "sys", "json.tool", "yaml"])
def test_a_module_named_like_an_installed_one_is_refused_by_name(name, here):
    top = name.partition(".")[0]
    (here / f"{top}.py").write_text("")
    with pytest.raises(UserError, match=rf"env.imports: '{top}' is also the name of an installed module"):
        import_user_modules([name], "env.imports")


def test_a_package_named_like_an_installed_one_is_refused_too(here):
    (here / "queue").mkdir()
    (here / "queue" / "__init__.py").write_text("")
    with pytest.raises(UserError, match=r"instead of queue/__init__.py; give yours another name"):
        import_user_modules(["queue"], "env.imports")


def test_an_installed_module_and_ones_own_are_imported(here):
    (here / "my_odd_module.py").write_text("value = 3")
    for _ in range(2):
        import_user_modules(["json.tool", "my_odd_module"], "env.imports")
    assert sys.modules.pop("my_odd_module").value == 3


def test_sys_exit_in_a_module_is_one_sentence(here):
    (here / "my_exiting_module.py").write_text("raise SystemExit(0)")
    with pytest.raises(UserError, match=r"cannot import module 'my_exiting_module' \(SystemExit: 0\)"):
        import_user_modules(["my_exiting_module"], "imports")
