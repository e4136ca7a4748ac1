"""Demonstrations, clone and training from it, on a robot that is not Meta-World's."""

import csv
import json
import random
import shutil

import gymnasium
import numpy as np
import pytest
import torch
import toy_robot
from doc_blocks import ROOT, blocks
from stable_baselines3.common.evaluation import evaluate_policy
from stage import Stage

import gipo_cli
from gipo_cli.actors import open as opening
from gipo_cli.data import demos
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir, list_runs
from gipo_cli.runs.manifest import read_config
from gipo_cli.runs.status import StatusFile
from gipo_cli.settings.agent import AgentConfig
from gipo_cli.settings.compose import compose
from gipo_cli.settings.posttrain import CloneConfig
from gipo_cli.training import initial, session
from gipo_cli.training.clone import make_clone, obtain
from gipo_cli.training.eval_report import evaluate_run
from gipo_cli.training.loading import load_run
from gipo_cli.training.record import record
from gipo_cli.training.session import resume, train

TOY = [
    "preset=posttrain", "env=gymnasium", f"env.id={toy_robot.ID}", "total_steps=512", "eval.interval=256",
    "eval.episodes=5", "checkpoint.interval=256", "agent.rollout_steps=32", "buffer.size=512",
    "agent.update.batch_size=64", "agent.critic_warmup=1", "clone.steps=300", "diagnostics=never",
    "logging=csv", "buffer.demos=0.25", "agent.anchor.kl_coef=0.1", "agent.anchor.clone_coef=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """A folder of runs with a file of demonstrations, and one run that began as their clone."""
    root = tmp_path_factory.mktemp("runs")
    made = record(lambda: toy_robot.expert, toy_robot.config(), episodes=20, seed=1, source="the expert")
    demos.save(made, root / "demos" / "mine.npz")
    run(root, "whole")
    return root


def run(root, name, *overrides):
    path = f'demos.path="{root}/demos/mine.npz"'
    config = compose([*TOY, path, *overrides]).config
    assert train(config, run_dir=root / name, overrides=[], command=["gipo"], quiet=True, root=root) == 0
    return RunDir(root / name)


def rows(path):
    with path.open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]


def test_the_record_shows_success_before_and_after(robot):
    whole = RunDir(robot / "whole")
    assert [row["step"] for row in rows(whole.evaluations)] == ["0", "256", "512"]
    success = json.loads(whole.success.read_text())
    assert (
        set(success["before"]["limit"]) == set(success["after"]["limit"]) == {"deterministic", "stochastic"}
    )
    assert success["demonstrations"] == 20
    assert float(rows(whole.evaluations)[0]["success"]) == success["before"]["limit"]["deterministic"] > 0
    first, *later = rows(whole.metrics)
    assert (first["update/actor_steps"], first["update/critic_steps"]) == ("0", "40")
    assert all(row["update/actor_steps"] == "10" for row in later)
    assert all(float(row["health/kl_initial"]) >= 0 and row["loss/clone"] for row in later)


def test_the_clone_is_shared_and_no_run_that_is_counted(robot):
    (shared,) = (robot / ".clones").iterdir()
    before = shared.stat().st_mtime_ns
    run(robot, "other", "objective=ppo_clip", "total_steps=128")
    assert [path.name for path in (robot / ".clones").iterdir()] == [shared.name]
    assert shared.stat().st_mtime_ns == before
    assert {found.name for found in list_runs(robot)} == {"whole", "other"}
    facts = json.loads((shared / "clone.json").read_text())
    assert (facts["demonstrations"], facts["source"]) == (20, "the expert")
    assert facts["seeds"] == {"cloning": 1, "demonstrations": 1}
    report = evaluate_run(shared)
    assert report.success == facts["success"]["limit"]["deterministic"]
    agent = load_run(shared)
    assert agent.act(np.zeros((1, 4), np.float32)).shape == (1, 2)
    with pytest.raises(UserError, match="is a clone and has no training to resume; type gipo train init="):
        resume(shared, overrides=[], allow_changes=False, quiet=True)


def test_a_run_resumes_exactly_after_its_sources_are_gone(robot, tmp_path):
    shutil.copytree(robot, tmp_path / "moved")
    half = RunDir(tmp_path / "moved" / "whole")
    shutil.rmtree(tmp_path / "moved" / ".clones")
    shutil.rmtree(tmp_path / "moved" / "demos")
    shutil.rmtree(half.checkpoints / "step_000000000512")
    half.success.unlink()
    StatusFile(half.status, total_steps=512, step=256).finish("interrupted")
    assert resume(half.path, overrides=[], allow_changes=False, quiet=True) == 0
    whole = RunDir(robot / "whole")
    assert rows(half.metrics) == rows(whole.metrics)
    assert rows(half.evaluations) == rows(whole.evaluations)
    last = [load_run(each.path).policy.state_dict() for each in (half, whole)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    assert half.success.read_bytes() == whole.success.read_bytes()


def test_actors_elsewhere_begin_as_the_clone_too(robot, monkeypatch):
    """With a bound of zero the run is the inline one to the bit, demonstrations and anchor included."""
    monkeypatch.setattr(opening, "Processes", lambda parts, seconds: Stage(parts, random.Random(1)))
    apart = run(robot, "apart", "actors=processes", "actors.max_lag=0")
    whole = RunDir(robot / "whole")
    elsewhere = ("actors/queue", "actors/dropped", "actors/masked", "actors/replaced", "actors/reuse")
    assert [dict(row, **dict.fromkeys(elsewhere, "")) for row in rows(apart.metrics)] == rows(whole.metrics)
    assert rows(apart.evaluations) == rows(whole.evaluations)
    assert apart.success.read_bytes() == whole.success.read_bytes()
    wide = run(
        robot, "wide", "actors=processes", "actors.n=2", "actors.max_lag=2", "objective=gipo_decoupled"
    )
    assert {int(row["actors/arrival_lag"]) for row in rows(wide.metrics)} <= {0, 1, 2}
    # Repeated from its own copy of the clone, whose source may be gone.
    monkeypatch.setattr(session, "prepare", None)
    config = read_config(wide)
    config = config.model_copy(update={"actors": config.actors.model_copy(update={"kind": "replayed"})})
    again = RunDir(robot / "repeated")
    words = {"overrides": [], "command": ["gipo"], "quiet": True}
    assert train(config, run_dir=again.path, arrivals=wide.arrivals, **words) == 0
    once, twice = (
        [{name: cell for name, cell in row.items() if name not in elsewhere} for row in rows(each.metrics)]
        for each in (wide, again)
    )
    assert once == twice


def test_a_clone_collects_for_as_many_versions_as_the_scheduled_lag(robot):
    """While only the critic learns every policy is the clone: its rollouts are those of the inline run."""
    fixed = ["agent.critic_warmup=2", "buffer=fresh", "buffer.demos=0", "objective=gipo_decoupled"]
    inline = rows(run(robot, "inline", *fixed).metrics)
    lagged = rows(run(robot, "lagged", *fixed, "actors=scheduled", "actors.lag=2").metrics)
    assert [row["actors/arrival_lag"] for row in lagged] == ["0", "1", "2", "2"]
    losses = [[(row["loss/critic"], row["episodes"]) for row in found] for found in (inline, lagged)]
    assert losses[0][:3] == losses[1][:3]
    assert losses[0][3] != losses[1][3]


def test_the_python_of_the_page_clones_and_trains_on(robot, monkeypatch):
    monkeypatch.chdir(robot / "demos")
    code = next(
        text for text in blocks(ROOT / "docs" / "posttraining.md", "py") if "load_demonstrations" in text
    )
    short = {"Slide-v0": toy_robot.ID, "my.npz": "mine.npz", "(demos)": "(demos, CloneConfig(steps=300))"}
    small = AgentConfig(rollout_steps=64, critic_warmup=1)
    for old, new in {**short, "seed=1": "seed=1, agent=small", "40_000": "64", "=20": "=5"}.items():
        assert old in code
        code = code.replace(old, new)
    names = {"gipo_cli": gipo_cli, "gymnasium": gymnasium, "evaluate_policy": evaluate_policy}
    exec(code, names | {"CloneConfig": CloneConfig, "small": small}, found := {})
    # While only the critic learns the policy is the clone, whose expert is at the goal within 15 steps.
    assert found["agent"].num_timesteps == 64
    assert found["mean"] > untrained(found["agent"]) + 5
    with pytest.raises(ValueError, match=r"have observations of shape \(4,\), and the agent's are Box"):
        gipo_cli.GIPO(env="Pendulum-v1").clone(found["demos"])


def untrained(agent):
    fresh = gipo_cli.GIPO(env=gymnasium.make(toy_robot.ID), normalize_obs=True, seed=1)
    return evaluate_policy(fresh, agent.get_env(), n_eval_episodes=5)[0]


def test_a_changed_copy_is_noticed(robot, tmp_path):
    shutil.copytree(robot / "whole", tmp_path / "whole")
    file = tmp_path / "whole" / "init" / "demos.reward.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"init, the policy that this run began as, is damaged"):
        initial.load(RunDir(tmp_path / "whole"))


def test_a_run_begins_as_any_other_run(robot):
    source = load_run(robot / "whole").policy.state_dict()
    again = run(
        robot, "again", "init=whole", "buffer.demos=0", "agent.anchor.clone_coef=0", "total_steps=128"
    )
    begun = initial.load(again)
    assert all(torch.equal(begun.weights[name], source[name]) for name in source)
    assert begun.demos is None
    assert rows(again.evaluations)[0]["success"] == rows(RunDir(robot / "whole").evaluations)[-1]["success"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init=nobody"], "no run 'nobody' in"),
        (["init=whole", "agent.policy.hidden=[32]"], r"has agent.policy.hidden=\[64, 64\] and this run has"),
        (["init=whole", "env.normalize_obs=false"], "type 'env.normalize_obs=true'"),
        (["init=whole", "env.action.kind=binned"], "type 'env.action.kind=continuous'"),
        (["demos.episodes=21"], "demos.episodes=21 is more than .* holds: 20 successful ones"),
        (["demos.path=gone.npz"], "there is no file gone.npz"),
        (["env.id=Pendulum-v1"], "demonstrates id=ToyRobot-v0, and this run has id=Pendulum-v1"),
        (["env.action.repeat=2"], "recorded with env.action.repeat=1, and this run has 2"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(robot, overrides, message):
    with pytest.raises(UserError, match=message):
        run(robot, "refused", *overrides)
    assert not (robot / "refused").exists()


def test_a_run_that_is_still_training_is_no_beginning(robot, tmp_path):
    shutil.copytree(robot / "whole", tmp_path / "whole")
    status = StatusFile(tmp_path / "whole" / "status.json", total_steps=512)
    status.beat(256, force=True)
    with pytest.raises(UserError, match="is still being trained; wait for its end"):
        run(robot, "refused", f'init="{tmp_path}/whole"')


def test_an_anchor_needs_an_initial_policy():
    for line in ("buffer.demos=0.1", "agent.anchor.kl_coef=1"):
        with pytest.raises(UserError, match="needs init=clone or init=RUN"):
            compose([line])


def another_version(about):
    return np.array(json.dumps(json.loads(str(about)) | {"versions": {"mujoco": "1.0"}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": lambda a: 3 * a}, r"is .*, beyond the bounds -1 to 1 \(.* of steps have one\)"),
        ({"action": lambda a: a[:, :1]}, "has actions of 1 numbers, and .* takes 2"),
        ({"obs": lambda a: a[:, :3]}, r"has observations of \[3\], and .* has \[4\]"),
        ({"success": lambda a: 0 * a}, "none of the 20 episodes of .* succeed"),
        (
            {"about": lambda a: another_version(a)},
            r"was recorded with mujoco 1\.0 and this is 3.*; record others",
        ),
    ],
)
def test_demonstrations_that_do_not_fit(robot, tmp_path, changes, message):
    arrays = demos.load(robot / "demos" / "mine.npz").arrays()
    arrays.update({name: change(arrays[name]) for name, change in changes.items()})
    if "obs" in changes:
        arrays.pop("final_obs")
    np.savez(tmp_path / "odd.npz", **arrays)
    config = compose([*TOY, f'demos.path="{tmp_path}/odd.npz"']).config
    with pytest.raises(UserError, match=message):
        obtain(config)


def test_a_binned_clone_of_demonstrations_recorded_by_hand(tmp_path):
    """They say nothing but what was seen and done."""
    by_hand = toy_robot.demonstrations(40)
    config = compose([*TOY, "env.action.kind=binned", "env.action.bins=9", "clone.steps=600"]).config
    folder = RunDir(tmp_path / "clone")
    folder.path.mkdir()
    facts = make_clone(folder, config, by_hand, overrides=[], command=["gipo"])
    assert facts["success"]["limit"]["deterministic"] >= 0.6
    assert facts["goals_shared_with_evaluation"] is None
    assert len(facts["fit"]["validation_episodes"]) == 8


def test_the_agents_view_ends_and_pays_as_the_environment_does(robot):
    from gipo_cli.envs.make import make_env

    made = demos.load(robot / "demos" / "mine.npz")
    for end, reward in ((True, "success"), (False, None)):
        cfg = toy_robot.config(end_on_success=end, reward=reward)
        config = compose(TOY).config.model_copy(update={"env": cfg})
        seen = initial.as_the_agent(made, make_env(cfg, 1), config)
        assert (seen.terminated.sum(), seen.truncated.sum()) == ((20, 0) if end else (0, 20))
        np.testing.assert_array_equal(seen.reward, made.success if reward else made.reward)
