"""The built wheel carries the configuration and works without the repository."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gipo_cli

REPOSITORY = Path(gipo_cli.__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "."]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("gipo_cli-*.whl"))


def test_wheel_holds_code_types_and_every_configuration_file(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = REPOSITORY / "conf"
    for file in conf.rglob("*.yaml"):
        assert f"gipo_cli/_conf/{file.relative_to(conf).as_posix()}" in names
    assert "gipo_cli/py.typed" in names
    assert not any(name.startswith(("tests/", "conf/", "runs/")) for name in names)


def test_installed_wheel_trains_from_its_own_configuration(wheel: Path, tmp_path: Path):
    """Without the repository: the module and the configuration must both come from the installed folder."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    changed = site / "gipo_cli" / "_conf" / "buffer" / "stale.yaml"
    changed.write_text(changed.read_text().replace("20000 ", "12321 "))
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIPO_")}
    env["PYTHONPATH"] = str(site)
    run = [sys.executable, "-m", "gipo_cli", "train", "buffer=stale", "--dry-run"]
    done = subprocess.run(run, cwd=empty, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "size: 12321" in done.stdout
    where = [sys.executable, "-c", "import gipo_cli; print(gipo_cli.__file__)"]
    found = subprocess.run(where, cwd=empty, env=env, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(site)
    assert list(empty.iterdir()) == []


def test_every_dependency_has_a_tested_version():
    """constraints.txt pins whatever pyproject.toml asks for, within what it allows."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    for requirement in map(Requirement, asked):
        version = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"
        assert "+" not in version


def test_make_help_lists_every_target():
    text = (REPOSITORY / "Makefile").read_text()
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in shown.splitlines()] == phony
