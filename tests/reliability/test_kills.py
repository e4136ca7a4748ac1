"""A run killed at any moment, by any signal, any number of times ends as one that nobody touched."""

import itertools
import signal
from collections import Counter

import pytest
from process_harness import SIGNALS, assert_same_run, dice_of, gipo, rows, start, stop_somewhere
from process_harness import finish as finish_process

from gipo_cli.runs.status import read_status

TINY = [
    "agent.policy.hidden=[16,16]",
    "agent.update.rounds=2",
    "agent.update.batch_size=32",
    "eval.episodes=1",
    "diagnostics.interval=null",
]
PENDULUM = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "env.n_envs=2",
    "agent.rollout_steps=64",
    "buffer.size=700",
]
PENDULUM += ["checkpoint.interval=300", "eval.interval=512", "total_steps=1500", *TINY]
SHORT = {  # Of the rest of ENVIRONMENTS and settings, `make test-kills` has the grid.
    "pendulum-binned-stored-lag": [
        *PENDULUM,
        "env.action.kind=binned",
        "env.action.bins=7",
        "agent.advantage.kind=stored",
        "actors=scheduled",
        "actors.lag=3",
        "actors.lag_kind=uniform",
    ],
    "pendulum-epochs-normalised-actor-subproc": [
        *PENDULUM,
        "agent.update.sampling=epochs",
        "agent.update.epochs=2",
        "env.normalize_obs=true",
        "env.vector=subproc",
        "actors=processes",
        "actors.max_lag=0",
    ],
    "fetch-vtrace": [
        "env=fetch_reach",
        "env.n_envs=2",
        "agent.rollout_steps=70",
        "buffer.size=500",
        "agent.advantage.kind=vtrace",
        "eval.interval=400",
        "checkpoint.interval=300",
        "total_steps=1000",
        *TINY,
    ],
    "metaworld-authors": [
        "preset=authors",
        "env.task=reach-v3",
        "agent.rollout_steps=200",
        "buffer.size=900",
        "agent.update.rounds=2",
        "eval.episodes=1",
        "eval.interval=600",
        "checkpoint.interval=500",
        "total_steps=1200",
    ],
}
ENVIRONMENTS = {
    "fetch": ["env=fetch_reach", "env.n_envs=2", "agent.rollout_steps=35", "total_steps=8400"],
    "metaworld": [
        "env=metaworld",
        "env.task=reach-v3",
        "env.n_envs=1",
        "env.max_episode_steps=150",
        "agent.rollout_steps=70",
        "total_steps=6300",
    ],
    "gymnasium": [
        "env=gymnasium",
        "env.id=Pendulum-v1",
        "env.n_envs=2",
        "agent.rollout_steps=35",
        "total_steps=28000",
    ],
}
GRID = list(itertools.product(ENVIRONMENTS, ("continuous", "binned"), ("stored", "recompute")))
KILLS = 17
"""For each of the 12 cases: 204 in all."""


def kill_often(cwd, settings, expected, dice, kills, **windows):
    """Start a run and stop it again and again; then let it finish.

    A run that is finished before it was stopped often enough is compared, and another one begun.

    Returns: how often which signal came where.
    """
    done, runs = Counter(), 0
    while done.total() < kills or runs == 0:
        runs += 1
        run = cwd / "runs" / f"stopped-{runs}"
        while True:
            # Nothing is there to go on with as long as the run was killed before it had written its settings.
            begun = (run / "config.yaml").exists()
            arguments = ["--resume", run.name] if begun else ["--name", run.name, *settings]
            process = start("train", *arguments, cwd=cwd)
            number = SIGNALS[done.total() % 3]
            where = stop_somewhere(process, run, number, dice, **windows) if done.total() < kills else None
            ended = finish_process(process)
            assert not ended.orphans, ended.orphans
            if where is None:
                break
            done[f"{signal.Signals(number).name} {where}"] += 1
            if where == "loop" and number != signal.SIGKILL:
                # After its last word it is an ordinary process.
                over = read_status(run / "status.json").state == "done"
                assert ended.code == 128 + number or over, ended.output
                assert "Traceback" not in ended.output or over, ended.output
        # Already finished is told by 2.
        assert ended.code in (0, 2), ended.output
        assert read_status(run / "status.json").state == "done", ended.output
        assert_same_run(run, expected)
    return done


@pytest.mark.parametrize("case", SHORT)
def test_killed_and_resumed_is_as_never_interrupted(case, tmp_path):
    whole = gipo("train", "--name", "whole", *SHORT[case], cwd=tmp_path)
    assert whole.code == 0, whole.output
    kill_often(tmp_path, SHORT[case], tmp_path / "runs" / "whole", dice_of(case), kills=3, loop=0.5)


@pytest.mark.kills
@pytest.mark.parametrize("case", GRID, ids="-".join)
def test_200_kills(case, tmp_path):
    env, kind, advantage = case
    settings = [
        *ENVIRONMENTS[env],
        f"env.action.kind={kind}",
        "env.action.bins=9",
        f"agent.advantage.kind={advantage}",
        "buffer.size=500",
        "checkpoint.interval=400",
        "eval.interval=1000",
        *TINY,
    ]
    whole = gipo("train", "--name", "whole", *settings, cwd=tmp_path)
    assert whole.code == 0, whole.output
    expected = tmp_path / "runs" / "whole"
    assert len(rows(expected / "metrics.csv")) > 80
    done = kill_often(tmp_path, settings, expected, dice_of("long", *case), KILLS)
    print(  # noqa: T201 - the outcome, shown by -rP
        f"{'-'.join(case)}: {done.total()} kills;",
        ", ".join(f"{n} {what}" for what, n in sorted(done.items())),
    )
    assert done.total() == KILLS
