"""Grids and study files to named runs."""

from functools import cache
from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose
from gipo_cli.sweep.plan import Study, plan

PENDULUM = ("env=gymnasium", "env.id=Pendulum-v1")


def study_file(root: Path, text: str, name: str = "mine") -> Path:
    (root / "study").mkdir(exist_ok=True)
    (root / "study" / f"{name}.yaml").write_text(text)
    return root


@cache
def shipped(name: str) -> Study:
    """A study that comes with the package; composing its runs takes a while."""
    return plan([f"study={name}"])


def test_a_knob_multiplies_only_the_objective_that_has_it():
    study = plan([*PENDULUM, "objective=gipo,ppo_clip", "objective.sigma=0.2,0.5", "seed=range(1,3)"])
    described = [
        (run.config.objective.name, getattr(run.config.objective, "sigma", None)) for run in study.runs
    ]
    assert described == [("gipo", 0.2)] * 2 + [("gipo", 0.5)] * 2 + [("ppo_clip", None)] * 2
    assert [run.config.seed for run in study.runs] == [1, 2] * 3
    assert study.runs[0].name.startswith("Pendulum-v1-gipo-sigma=0.2-n")
    assert "sigma" not in study.runs[4].name


def test_runs_are_what_train_would_compose():
    for run in plan(["preset=authors", "objective=sapo,gipo", "buffer.size=500,5000", "seed=3,4"]).runs:
        assert run.config == compose(run.overrides).config


def test_names_are_unique_and_tell_seed_buffer_and_settings():
    study = plan([*PENDULUM, "agent.ratio=joint,per_dimension", "buffer.size=600,700", "seed=1,2"])
    assert len({run.name for run in study.runs}) == 8
    for run in study.runs:
        assert run.name == (f"Pendulum-v1-gipo-n{run.config.buffer_size}-s{run.config.seed}-{run.hash}")


def test_the_same_grid_has_the_same_folder_whatever_its_budget():
    one = plan([*PENDULUM, "seed=1,2", "total_steps=1000"])
    assert one.name == plan([*PENDULUM, "seed=2,1", "total_steps=2000"]).name
    assert one.name != plan([*PENDULUM, "seed=1,3", "total_steps=1000"]).name
    assert plan([*PENDULUM, "seed=1,2"], name="mine").name == "mine"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "name what to sweep over"),
        (["seed="], "has no values"),
        (["total_steps=1000,2000"], "total_steps cannot be an axis"),
        (["seed=range(3,3)"], "has no values"),
        (["sed=1,2"], "did you mean seed"),
        (["objective=gipo,sapo", "objective.eps=0.1,0.2"], "no objective of this grid has a parameter 'eps'"),
        (["logging=csv,default"], "logging=csv and logging=default make the same run"),
        (["env=gymnasium", "seed=1,2"], "env.id"),
        (["study=smoke", "study=reach_buffers"], "name one study file"),
        (["study=smok"], "did you mean smoke"),
        (["study=smoke", "seed=7"], r"'seed=7' contradicts 'seed=1,2' of the study smoke"),
        (["study=smoke", "buffer=large"], "'buffer=large' contradicts 'buffer.size=512'"),
    ],
)
def test_mistakes(overrides: list[str], message: str):
    with pytest.raises(UserError, match=message):
        plan(overrides)


def test_shipped_buffer_study():
    study = shipped("reach_buffers")
    assert study.name == "reach_buffers"
    cells = {(r.config.objective.name, r.config.buffer_size, r.config.seed) for r in study.runs}
    objectives = ("gipo", "ppo_clip", "sapo", "tis", "no_clip")
    assert cells == {(o, n, s) for o in objectives for n in (500, 5000, 20000) for s in range(1, 6)}
    assert {(r.config.preset, r.config.env.task, r.total_steps) for r in study.runs} == {
        ("authors", "reach-v3", 100_000)
    }


def test_how_long_and_where_may_be_typed_beside_a_study():
    study = plan(["study=smoke", "total_steps=4096", "checkpoint.interval=1024", "eval.seed=5"])
    assert {r.total_steps for r in study.runs} == {4096}
    assert {r.config.checkpoint.interval for r in study.runs} == {1024}
    assert {r.config.eval.seed for r in study.runs} == {5}


def test_own_study_file(tmp_path: Path):
    folder = study_file(
        tmp_path, "name: own\naxes: ['seed=1,2']\nfixed: [env=gymnasium, env.id=Pendulum-v1]\n"
    )
    study = plan(["study=mine"], config_dirs=[folder])
    assert (study.name, len(study.runs)) == ("own", 2)
    assert plan(["study=mine"], name="other", config_dirs=[folder]).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: own\naxes: []\n", "axes: List should have at least 1 item"),
        ("name: own\naxis: [seed=1,2]\n", "a study has a name, and axes and fixed"),
        ("- seed=1\n", "the file: Input should be a valid dictionary"),
        ("name: [\n", "cannot be read"),
        ("name: a/b\naxes: [seed=1]\n", "cannot be a run's name"),
        ("name: own\naxes: [seed=1, seed=2]\n", "seed more than once"),
    ],
)
def test_damaged_study_file(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        plan(["study=mine"], config_dirs=[study_file(tmp_path, text)])


def test_values_derived_from_the_seed_by_a_users_file(tmp_path: Path):
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "mine.yaml").write_text("# @package _global_\neval:\n  seed: ${seed}\n")
    runs = plan([*PENDULUM, "preset=mine", "seed=1,2"], config_dirs=[tmp_path]).runs
    assert [run.config.eval.seed for run in runs] == [1, 2]
    runs = plan([*PENDULUM, "eval.seed=${seed}", "seed=1,2"]).runs
    assert [run.config.eval.seed for run in runs] == [1, 2]


@pytest.mark.parametrize(
    ("name", "runs", "rollout", "neg_ratio"),
    [
        ("reach_buffers", 75, 500, 0.5),
        ("reach_lag", 25, 100, 0.5),
        ("door_close_buffers", 75, 500, 0.5),
        ("handle_press_buffers", 75, 500, 0.5),
        ("fetch_reach_buffers", 75, 50, 1.0),
    ],
)
def test_the_studies_of_the_results_are_balanced(name, runs, rollout, neg_ratio):
    study = shipped(name)
    assert len(study.runs) == runs
    assert {run.config.agent.rollout_steps for run in study.runs} == {rollout}
    seeds = [run.config.seed for run in study.runs]
    assert all(seeds.count(seed) == runs // 5 for seed in range(1, 6))
    gipo = next(run.config.objective for run in study.runs if run.config.objective.name == "gipo")
    assert (gipo.sigma, gipo.neg_ratio) == (0.5, neg_ratio)


def test_settings_of_a_file_hold_for_all_runs(tmp_path: Path):
    file = tmp_path / "best.yaml"
    file.write_text("env: gymnasium\nenv.id: Pendulum-v1\nseed: 9\n")
    assert [(run.config.env.id, run.config.seed) for run in plan([str(file), "seed=1,2"]).runs] == [
        ("Pendulum-v1", 1),
        ("Pendulum-v1", 2),
    ]
