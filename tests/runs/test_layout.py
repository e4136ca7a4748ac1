import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import check_out, create, default_name, find, list_runs, runs_root
from gipo_cli.runs.lock import run_lock
from gipo_cli.settings.schema import RunConfig


def config(**env):
    return RunConfig.model_validate(
        {
            "seed": 7,
            "total_steps": 10,
            "env": {"name": "fetch_reach", **env},
            "objective": {"name": "gipo"},
            "buffer": {"size": 20_000},
        }
    )


def started(root, name, when=None):
    run = create(root, name)
    run.config.write_text("seed: 1\n")
    if when is not None:
        os.utime(run.config, (when, when))
    return run


def test_importing_the_layout_imports_nothing_heavy():
    code = (
        "import sys, gipo_cli.runs.layout;"
        "print([m for m in ('torch', 'numpy', 'gymnasium', 'mujoco', 'scipy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_default_name_states_the_run_in_utc():
    summer = datetime(2026, 7, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert default_name(config(), summer) == "fetch_reach-gipo-n20000-s7-20260630-230203"


def test_default_name_includes_the_task_and_is_always_a_valid_name(tmp_path):
    name = default_name(config(name="gymnasium", id="my ns/Ünrŭly-v0" + "x" * 200))
    assert name.startswith("gymnasium-my-ns-nr-ly-v0")
    assert create(tmp_path, name).path.is_dir()
    assert default_name(config(name="metaworld", task="reach-v3")).startswith("metaworld-reach-v3-gipo-")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../a", "/tmp/a", ".hidden", "-x", "a\nb", "a b", "é", "x" * 151, "latest", "a\0"],
    ids=repr,
)
def test_odd_names_are_refused_and_nothing_is_written(tmp_path, name):
    root = tmp_path / "runs"
    with pytest.raises(UserError, match="cannot be a run's name"):
        create(root, name)
    assert not root.exists()


def test_an_existing_run_is_never_reused(tmp_path):
    run = create(tmp_path, "a")
    (run.path / "x").write_text("mine")
    with pytest.raises(UserError, match=r"already exists.*--resume a"):
        create(tmp_path, "a")
    assert [create(tmp_path, "a", unique=True).name for _ in range(2)] == ["a-2", "a-3"]
    assert (run.path / "x").read_text() == "mine"


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        create(tmp_path / "runs", "a")
    with pytest.raises(UserError, match=r"Not a directory|not a folder"):
        create(tmp_path / "runs" / "below", "a")


def test_an_unwritable_root_is_refused():
    # Not even root may create anything there.
    with pytest.raises(UserError, match="--runs or GIPO_RUNS"):
        create(Path("/proc"), "a")


def test_runs_root_prefers_the_flag_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("GIPO_RUNS", raising=False)
    assert str(runs_root()) == "runs"
    monkeypatch.setenv("GIPO_RUNS", "/elsewhere")
    assert str(runs_root()) == "/elsewhere"
    assert runs_root(tmp_path) == tmp_path


def test_list_runs_sees_sweeps_but_not_the_inside_of_runs(tmp_path):
    started(tmp_path, "b")
    inside = started(tmp_path, "a")
    (inside.checkpoints / "x").mkdir(parents=True)
    (inside.checkpoints / "x" / "config.yaml").write_text("")
    started(tmp_path / "sweep" / "one", "c")
    (tmp_path / "no run").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [run.path.relative_to(tmp_path).as_posix() for run in list_runs(tmp_path)] == [
        "a",
        "b",
        "sweep/one/c",
    ]
    assert list_runs(tmp_path / "missing") == []


def test_find_resolves_paths_names_beginnings_and_latest(tmp_path, monkeypatch):
    root = tmp_path / "runs"
    reach = started(root, "reach-s1", when=100)
    push = started(root / "sweep", "push-s1", when=300)
    started(root, "reach-s10", when=200)
    monkeypatch.chdir(tmp_path)
    assert find(root, "reach-s1") == reach
    for ref in (
        "sweep/push-s1",
        "push-s1",
        "pu",
        "sweep/pu",
        str(push.path),
        "runs/sweep/push-s1/",
        "latest",
    ):
        assert find(root, ref).path.resolve() == push.path.resolve()
    started(root, "import", when=400).meta.write_text('{"imported_from": "/elsewhere"}')
    assert find(root, "latest") == push


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("reach", "beginning of 2 runs: reach-s1, reach-s2"),
        ("raech-s1", "did you mean reach-s1 or reach-s2"),
        ("", "no run ''"),
        ("zzz", "gipo list runs"),
        ("x" * 5000, "no run"),
        ("a\0b", "no run"),
        ("empty", "holds no config.yaml"),
        ("bare", "bare holds no config.yaml, so it is no run any more"),
        ("z-import", "z-import is an import, which only `gipo compare` reads"),
        ("runs", "runs is a folder of runs; name one of them, such as runs/reach-s1"),
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_find_says_what_is_wrong(tmp_path, monkeypatch, ref, message):
    monkeypatch.chdir(tmp_path)
    started(tmp_path / "runs", "reach-s1")
    started(tmp_path / "runs", "reach-s2")
    (tmp_path / "empty").mkdir()
    create(tmp_path / "runs", "bare").status.write_text("{}")
    started(tmp_path / "runs", "z-import").meta.write_text('{"imported_from": "/elsewhere"}')
    with pytest.raises(UserError, match=message):
        find(tmp_path / "runs", ref)


@pytest.mark.parametrize(
    ("meta", "imported"),
    [
        ('{"imported_from": "/elsewhere"}', True),
        ('{"run": "imported_from"}', False),
        ('{"directory": {"imported_from": 1}}', False),
        ('["imported_from"]', False),
        ("imported_from", False),
        ("[" * 100_000, False),
    ],
)
def test_an_import_says_so_in_its_own_field(tmp_path, meta, imported):
    run = started(tmp_path, "a")
    run.meta.write_text(meta)
    assert run.is_import() is imported
    run.checkpoints.mkdir()
    assert not run.is_import()


def test_a_pipe_in_place_of_facts_is_not_waited_for(tmp_path):
    run = started(tmp_path, "a")
    run.meta.unlink(missing_ok=True)
    os.mkfifo(run.meta)
    assert not run.is_import()


def test_find_without_any_run(tmp_path):
    with pytest.raises(UserError, match="no runs in"):
        find(tmp_path, "latest")


@pytest.mark.parametrize("names", [[], [".lock"], [".lock", "overrides.txt", "git.diff", ".tmp-7-meta.json"]])
def test_a_folder_that_a_killed_start_left_behind_is_taken_over(tmp_path, names):
    (tmp_path / "r").mkdir()
    for name in names:
        (tmp_path / "r" / name).touch()
    assert create(tmp_path, "r").path == tmp_path / "r"
    # What may not be written again must not stay.
    assert not (tmp_path / "r" / "git.diff").exists()
    (tmp_path / "r" / "log.txt").touch()
    with pytest.raises(UserError, match="already exists"):
        create(tmp_path, "r")


def test_a_link_is_not_taken_for_a_folder_that_was_left_behind(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "r").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="already exists"):
        create(tmp_path / "runs", "r")


def test_a_folder_in_which_a_start_is_going_on_is_not(tmp_path):
    run = create(tmp_path, "r")
    with (
        run_lock(run.lock),
        pytest.raises(UserError, match="just being started by another process; give another name, or wait"),
    ):
        create(tmp_path, "r")


def test_a_home_in_the_variable_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIPO_RUNS", "~/runs")
    assert runs_root() == tmp_path / "runs"
    assert runs_root(Path("~/other")) == tmp_path / "other"


def test_a_link_is_no_place_to_write_and_inside_a_run_none_leads_there(tmp_path, monkeypatch):
    run = started(tmp_path / "runs", "r")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "mine").symlink_to("scratch")
    (run.path / "videos").symlink_to(tmp_path / "scratch")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(run.path)
    # The user's own link on the way to a place outside of runs is theirs.
    for free in (tmp_path / "mine" / "a", tmp_path / "new", run.path / "export", Path("a", "b")):
        check_out(free)
    for link, out in {
        tmp_path / "mine": tmp_path / "mine",
        tmp_path / "dangling": tmp_path / "dangling",
        run.path / "videos": run.path / "videos" / "deeper" / "a.mp4",
        Path.cwd() / "videos": Path("videos", "a.mp4"),
    }.items():
        with pytest.raises(UserError, match=f"^{link} is a link"):
            check_out(out)
