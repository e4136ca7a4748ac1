"""What is said of a study that is not the one of its folder."""

from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.sweep.manifest import StudyDir, check_same, write_study
from gipo_cli.sweep.plan import plan

LINES = ("env=gymnasium", "env.id=Pendulum-v1", "total_steps=2000")


def difference(folder: Path, *changes: str) -> str:
    study = StudyDir(folder / "it")
    write_study(study, plan(LINES, name="it"), command="gipo sweep ...")
    with pytest.raises(UserError) as caught:
        check_same(study, plan([*LINES, *changes], name="it"))
    return str(caught.value)


def test_values_are_told_as_they_are_typed(tmp_path: Path):
    assert "env.max_episode_steps null there, 7 here" in difference(tmp_path, "env.max_episode_steps=7")


@pytest.mark.parametrize(("count", "words"), [(4, ""), (5, " and 1 more setting;"), (6, "2 more settings;")])
def test_what_is_left_out_is_counted(tmp_path: Path, count: int, words: str):
    changes = [
        "agent.advantage.gamma=0.5",
        "agent.advantage.gae_lambda=0.5",
        "agent.update.rounds=3",
        "agent.update.batch_size=33",
        "agent.update.actor_lr=0.5",
        "agent.update.critic_lr=0.5",
    ]
    said = difference(tmp_path, *changes[:count])
    assert words in said
    assert ("more" in said) == bool(words)
