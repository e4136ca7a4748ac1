"""What every test starts from."""

import signal

import pytest

from gipo_cli.settings.schema import RunConfig

# What a script starts in its background ignores Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise a closed terminal under nohup.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A real run of a few hundred steps, with two checkpoints of which the first is the best."""
    from gipo_cli.training.session import train

    config = RunConfig.model_validate(
        {
            "total_steps": 256,
            "env": {"name": "fetch_reach"},
            "objective": {"name": "gipo"},
            "agent": {"rollout_steps": 128, "update": {"rounds": 1, "batch_size": 64}},
            "eval": {"interval": 128, "episodes": 6},
            "checkpoint": {"interval": 128, "keep_last": 9},
        }
    )
    run_dir = tmp_path_factory.mktemp("runs") / "tiny"
    assert train(config, run_dir=run_dir, overrides=[], command=["gipo"], quiet=True) == 0
    return run_dir
