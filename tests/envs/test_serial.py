import numpy as np
from env_tools import shipped
from stable_baselines3.common.vec_env import DummyVecEnv

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.envs.serial import SerialVecEnv


def test_it_is_the_vector_of_stable_baselines3_over_episodes():
    cfg = shipped("gymnasium", id="Pendulum-v1", max_episode_steps=7, n_envs=2)
    ours = make_vec_env(cfg, 3)
    theirs = DummyVecEnv([lambda e=e: make_env(cfg, 3, e) for e in range(2)])
    assert type(ours) is SerialVecEnv
    assert np.array_equal(ours.reset(), theirs.reset())
    draws = np.random.default_rng(0)
    kept = []
    for _ in range(20):
        action = draws.uniform(-2, 2, (2, 1)).astype(np.float32)
        mine, other = ours.step(action), theirs.step(action)
        for a, b in zip(mine[:3], other[:3], strict=True):
            assert np.array_equal(a, b)
        kept.append((mine[3], other[3]))
    for mine, other in kept:  # earlier infos are still what they were
        for a, b in zip(mine, other, strict=True):
            assert a.keys() == b.keys()
            assert a["TimeLimit.truncated"] == b["TimeLimit.truncated"]
            if "terminal_observation" in a:
                assert np.array_equal(a["terminal_observation"], b["terminal_observation"])
                assert a["episode"]["r"] == b["episode"]["r"]
    assert sum("episode" in infos[0] for infos, _ in kept) == 2
