import os
import subprocess

import pytest

from gipo_cli.runs.machine import git_state, hardware, processor, versions


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True).strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    folder = tmp_path / "code é"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.chdir(folder)
    return folder


def test_the_machine_is_named():
    facts = hardware()
    assert facts["cpu"] == processor() != ""
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert versions()["mujoco"] == "3.3.0"


def test_a_clean_repository_has_a_commit_and_no_diff(repository):
    repositories, diff = git_state()
    mine = {entry["root"]: entry for entry in repositories}[str(repository)]
    assert mine == {
        "root": str(repository),
        "sha": git(repository, "rev-parse", "HEAD"),
        "dirty": False,
        "untracked": [],
    }
    assert f"# repository {repository}" not in diff


def test_a_dirty_repository_has_a_diff_that_applies(tmp_path, repository):
    (repository / "a.py").write_text("x = 2\n")
    (repository / "new ü.py").write_text("")
    repositories, diff = git_state()
    mine = {entry["root"]: entry for entry in repositories}[str(repository)]
    assert mine["dirty"]
    assert mine["untracked"] == ["new ü.py"]
    git(repository, "checkout", "-q", "a.py")
    parts = diff.split("# repository ")
    (patch,) = (part.partition("\n")[2] for part in parts if part.startswith(str(repository)))
    (tmp_path / "patch").write_text(patch)
    git(repository, "apply", str(tmp_path / "patch"))
    assert (repository / "a.py").read_text() == "x = 2\n"


def test_without_git_or_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state() == ([], "")


@pytest.mark.parametrize(
    ("setting", "attribute"),
    [
        ("filter.evil.clean", "* filter=evil"),
        ("filter.evil.process", "* filter=evil"),
        ("filter.a=b.clean", "* filter=a=b"),
        ("diff.evil.command", "* diff=evil"),
        ("diff.evil.textconv", "* diff=evil"),
        ("diff.external", ""),
        ("core.fsmonitor", ""),
    ],
)
def test_no_program_that_a_repository_names_is_run(repository, tmp_path, setting, attribute):
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat 2> /dev/null\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text(attribute + "\n")
    git(repository, "config", setting, str(program))
    git(repository, "config", "filter.evil.required", "true")
    (repository / "a.py").write_text("x = 2 # longer\n")
    os.utime(repository / "a.py", (1, 1))
    repositories, diff = git_state()
    assert not mark.exists()
    assert {entry["root"]: entry["dirty"] for entry in repositories}[str(repository)]
    assert "+x = 2 # longer" in diff
    # The trap is one: used as is, git runs it.
    subprocess.run(["git", "diff"], cwd=repository, capture_output=True, check=False)
    assert mark.exists()
