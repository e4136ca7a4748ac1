import csv
import json
import pickle
import shutil
from contextlib import closing
from dataclasses import fields

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.settings.schema import EnvConfig, RunConfig
from gipo_cli.training.eval_report import build_report, choose_protocol, evaluate_run
from gipo_cli.training.evaluate import EvalResult, Evaluator, evaluate_policy

FETCH = EnvConfig(name="fetch_reach")
METAWORLD = EnvConfig(name="metaworld", task="reach-v3")


def reach(observations):
    """Move straight to the goal, which both tasks put last, the gripper's place first."""
    actions = np.zeros((len(observations), 4), np.float32)
    actions[:, :3] = 10 * (observations[:, -3:] - observations[:, :3])
    return actions


def still(observations):
    return np.zeros((len(observations), 4), np.float32)


def assert_equal(first, second):
    for field in fields(EvalResult):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.parametrize("cfg", [FETCH, METAWORLD.model_copy(update={"max_episode_steps": 30})])
def test_episodes_start_alike_however_many_environments_share_them(cfg):
    arguments = {"episodes": 5, "seed": 3, "task_seed": 1}
    alone = evaluate_policy(reach, cfg, n_envs=1, **arguments)
    assert len(np.unique(alone.returns)) == 5
    assert_equal(evaluate_policy(reach, cfg, n_envs=3, **arguments), alone)


def test_an_episode_without_an_end_is_given_up(monkeypatch):
    monkeypatch.setattr("gipo_cli.training.evaluate.LONGEST_EPISODE", 20)

    def hanging(observations):
        return np.zeros((len(observations), 1), np.float32)

    gymnasium.register("Endless-v0", "gymnasium.envs.classic_control:PendulumEnv")
    endless = EnvConfig(name="gymnasium", id="Endless-v0")
    for limit in (None, 10**9):
        far = endless.model_copy(update={"max_episode_steps": limit})
        given_up = pytest.raises(RunFailed, match=r"no end after 20 steps; set env\.max_episode_steps")
        with closing(Evaluator(far, seed=3, task_seed=1)) as evaluator, given_up:
            evaluator.run(hanging, 1)
    limited = endless.model_copy(update={"max_episode_steps": 15})
    with closing(Evaluator(limited, seed=3, task_seed=1)) as evaluator:
        assert evaluator.run(hanging, 1).lengths.tolist() == [15]


class Telling(PendulumEnv):
    """Says in its odd episodes that they succeeded, and nothing in the others."""

    def reset(self, **kwargs):
        self.odd = kwargs["seed"] % 2
        return super().reset(**kwargs)

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {"is_success": True} if self.odd else info


def test_an_evaluation_in_which_only_successes_are_reported_has_no_rate():
    gymnasium.register("Telling-v0", Telling, max_episode_steps=3)
    cfg = EnvConfig(name="gymnasium", id="Telling-v0")

    def push(observations):
        return np.zeros((len(observations), 1), np.float32)

    with pytest.raises(RunFailed, match="env=gymnasium: some episodes report success and others do not"):
        evaluate_policy(push, cfg, episodes=5, seed=3, task_seed=1)


def test_an_evaluation_leaves_no_trace_in_the_next():
    evaluator = Evaluator(FETCH, seed=3, task_seed=1, n_envs=2)
    first = evaluator.run(reach, 4)
    evaluator.run(still, 1)
    assert_equal(evaluator.run(reach, 4), first)
    evaluator.close()


def test_another_seed_gives_other_episodes():
    first, second = (evaluate_policy(reach, FETCH, episodes=2, seed=seed, task_seed=1) for seed in (3, 4))
    assert not np.array_equal(first.returns, second.returns)


def test_actions_beyond_the_bounds_are_clipped():
    wild, clipped = (
        evaluate_policy(lambda obs, f=f: f(1000 * reach(obs)), FETCH, episodes=1, seed=3, task_seed=1)
        for f in (np.asarray, lambda actions: np.clip(actions, -1, 1))
    )
    assert_equal(wild, clipped)


def test_a_good_policy_succeeds_and_an_idle_one_does_not():
    good = evaluate_policy(reach, FETCH, episodes=4, seed=3, task_seed=1)
    assert good.success.all()
    assert good.success_last.all()
    assert set(good.lengths) == {50}
    assert not evaluate_policy(still, FETCH, episodes=4, seed=3, task_seed=1).success_last.any()


def test_binned_actions():
    cfg = EnvConfig.model_validate({"name": "fetch_reach", "action": {"kind": "binned", "bins": 11}})

    def act(observations):
        return np.rint((np.clip(reach(observations), -1, 1) + 1) * 5).astype(np.int64)

    assert evaluate_policy(act, cfg, episodes=2, seed=3, task_seed=1, n_envs=2).success.all()


def test_metaworlds_protocol_ends_an_episode_at_its_first_success():
    arguments = {"episodes": 3, "seed": 3, "task_seed": 1}
    whole = evaluate_policy(reach, METAWORLD, **arguments)
    ended = evaluate_policy(reach, METAWORLD, protocol="metaworld", **arguments)
    assert set(whole.lengths) == {500}
    assert (ended.lengths < 100).all()
    assert ended.success_any.all()
    np.testing.assert_array_equal(ended.first_success, ended.lengths)
    np.testing.assert_array_equal(whole.first_success, ended.lengths)
    idle = evaluate_policy(still, METAWORLD, protocol="metaworld", **arguments)
    assert set(idle.lengths) == {500}
    assert np.isnan(idle.first_success).all()
    assert idle.row()["first_success"] is None


def test_metaworlds_protocol_visits_each_of_the_training_goals_once():
    from gipo_cli.envs.metaworld import goals_of

    visited, seen = [], {}

    def watch(observations):
        for observation in observations:
            seen[observation[-3:].tobytes()] = observation[-3:]
        return reach(observations)

    result = evaluate_policy(
        watch, METAWORLD, episodes=50, seed=3, task_seed=8, n_envs=4, protocol="metaworld"
    )
    assert len(result.returns) == 50
    visited = np.array(sorted(goal.tolist() for goal in seen.values()))
    expected = sorted(pickle.loads(task.data)["rand_vec"][-3:].tolist() for task in goals_of("reach-v3", 8))
    np.testing.assert_allclose(visited, np.array(expected), atol=1e-6)


def run_config(env, **more):
    return RunConfig.model_validate(
        {"total_steps": 1, "env": env.model_dump(), "objective": {"name": "gipo"}, "seed": 4} | more
    )


def result(success, any_=None):
    flags = np.array(success)
    n = len(flags)
    any_ = flags if any_ is None else np.array(any_)
    first = np.where(any_ == 1, np.arange(n) + 3.0, np.nan)
    return EvalResult(np.arange(n, dtype=float), np.full(n, 7), flags, any_, flags, first)


def report(found, config, protocol="standard"):
    saved = Checkpoint(step=1200, notes=["the newest was damaged"])
    return build_report(
        found, config, run="runs/a", saved=saved, protocol=protocol, deterministic=True, seed=10_000
    )


def test_the_report_has_wilsons_interval(tmp_path):
    # Wilson (1927) for 9 of 10: (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.959964.
    found = report(result([True] * 9 + [False]), run_config(FETCH))
    assert (found.successes, found.episodes, found.success) == (9, 10, 0.9)
    assert found.success_low == pytest.approx(0.59585, abs=1e-5)
    assert found.success_high == pytest.approx(0.98212, abs=1e-5)
    assert (found.return_mean, found.return_median, found.return_max) == (4.5, 4.5, 9.0)
    assert found.first_success == 7.0  # of nine that succeed at steps 3 to 11
    assert json.loads(json.dumps(found.to_json()))["step"] == 1200
    text = "\n".join(found.lines())
    for part in (
        "standard",
        "90.0% (9 of 10)",
        "59.6% to 98.2%",
        "step 1200",
        "first at step 7.0",
        "the newest was damaged",
        "seed 10000",
    ):
        assert part in text


def test_a_task_that_reports_no_success_has_no_rate():
    found = report(result([np.nan, np.nan]), run_config(FETCH))
    assert (found.success, found.successes, found.success_low, found.success_by_episode) == (
        None,
        None,
        None,
        [],
    )
    assert "success    this task reports none" in found.lines()
    assert result([np.nan, np.nan]).row()["success"] is None


def test_under_metaworlds_protocol_success_is_at_any_step():
    config = run_config(METAWORLD.model_copy(update={"success": "last"}))
    found = report(result([False, False], any_=[True, False]), config, protocol="metaworld")
    assert found.successes == 1
    assert found.success_definition == "at any step"
    assert "metaworld/reach-v3" in found.env
    assert report(result([False, False], any_=[True, False]), config).success_definition == "at the last step"


@pytest.mark.parametrize(
    ("episodes", "words"),
    [
        (10, "an episode for the first 10 of the 50 training goals, ended"),
        (50, "an episode for each of the 50 training goals, ended"),
        (60, "an episode for each of the 50 training goals, again and again, ended"),
    ],
)
def test_metaworlds_protocol_names_the_goals_it_visited(episodes, words):
    assert words in report(result([True] * episodes), run_config(METAWORLD), "metaworld").protocol_text


@pytest.mark.parametrize(
    ("limit", "protocol", "told"),
    [
        (200, "metaworld", True),
        (500, "metaworld", False),
        (None, "metaworld", False),
        (200, "standard", False),
    ],
)
def test_a_shorter_episode_than_the_benchmarks_is_told(limit, protocol, told):
    config = run_config(METAWORLD.model_copy(update={"max_episode_steps": limit}))
    lines = report(result([True]), config, protocol).lines()
    said = "note       env.max_episode_steps=200 and the benchmark's is 500: scores do not compare"
    assert (said in lines) is told


def test_the_protocol_follows_the_task():
    assert choose_protocol(run_config(METAWORLD), None) == "metaworld"
    assert choose_protocol(run_config(METAWORLD), "standard") == "standard"
    assert choose_protocol(run_config(FETCH), None) == "standard"
    with pytest.raises(UserError, match="is for Meta-World's tasks, not for env=fetch_reach"):
        choose_protocol(run_config(FETCH), "metaworld")
    with pytest.raises(UserError, match="unknown protocol 'standart'; known: standard, metaworld"):
        choose_protocol(run_config(FETCH), "standart")


def last_evaluation(run):
    with (run / "eval.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))[-1]


def test_a_runs_evaluation_afterwards_equals_the_one_in_training(trained_run):
    found = evaluate_run(trained_run)
    row = last_evaluation(trained_run)
    assert found.step == int(row["step"]) == 256
    assert (found.return_mean, found.return_min) == (float(row["return_mean"]), float(row["return_min"]))
    assert (found.episodes, found.seed, found.protocol) == (6, 10_000, "standard")


def test_any_checkpoint_and_seed_can_be_evaluated(trained_run):
    first = evaluate_run(trained_run, checkpoint="128", episodes=3, seed=5)
    assert (first.step, first.episodes, first.seed) == (128, 3, 5)
    assert evaluate_run(trained_run, checkpoint="best").step in (128, 256)


def test_an_episode_is_the_same_to_the_last_bit_however_many_there_are(trained_run):
    few, many = evaluate_run(trained_run, episodes=4), evaluate_run(trained_run, episodes=7)
    assert many.returns[:4] == few.returns


def test_sampled_actions_differ_from_the_mode_but_repeat(trained_run):
    mode = evaluate_run(trained_run)
    sampled = evaluate_run(trained_run, deterministic=False)
    assert sampled.returns != mode.returns
    assert evaluate_run(trained_run, deterministic=False).returns == sampled.returns


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 0}, "episodes=0 is not a number of episodes"),
        ({"checkpoint": "77"}, "no checkpoint of step 77; it holds: 128, 256"),
        ({"checkpoint": "newest"}, "use last, best or a step"),
        ({"protocol": "metaworld"}, "not for env=fetch_reach"),
    ],
)
def test_a_request_that_does_not_fit_is_one_sentence(trained_run, arguments, message, monkeypatch):
    if "checkpoint" not in arguments:
        # It is refused before anything is loaded.
        monkeypatch.setattr("gipo_cli.training.loading.load_agent", None)
    with pytest.raises(UserError, match=message):
        evaluate_run(trained_run, **arguments)


def test_a_damaged_last_checkpoint_is_told_and_passed_over(trained_run, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(trained_run, run)
    (run / "checkpoints" / "step_000000000256" / "policy.pt").write_bytes(b"")
    found = evaluate_run(run)
    assert found.step == 128
    assert "step_000000000256 is damaged" in found.lines()[0]
