import pytest

from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.session import train


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A real run with three checkpoints, of which the second is the best."""
    config = RunConfig.model_validate(
        {
            "total_steps": 192,
            "env": {"name": "gymnasium", "id": "Pendulum-v1", "max_episode_steps": 30},
            "objective": {"name": "gipo"},
            "agent": {
                "rollout_steps": 64,
                "policy": {"hidden": [8]},
                "update": {"rounds": 1, "batch_size": 16},
            },
            "buffer": {"size": 128},
            "eval": {"interval": 64, "episodes": 1},
            "checkpoint": {"interval": 64, "keep_last": 9},
            "diagnostics": {"interval": None},
            "runtime": {"env_timeout_s": None},
        }
    )
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    assert train(config, run_dir=run_dir, overrides=["seed=1"], command=["gipo"], quiet=True) == 0
    return run_dir
