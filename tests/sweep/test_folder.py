"""The sealed plan of a study's folder, and what is said of a study that is not the one of its folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.sweep.folder import StudyDir, check_same, read_study, write_study
from gipo_cli.sweep.plan import plan

PENDULUM = ("env=gymnasium", "env.id=Pendulum-v1", "total_steps=2000")


def written(root: Path, *lines: str) -> StudyDir:
    folder = StudyDir(root / "it")
    write_study(folder, plan([*PENDULUM, *lines], name="it"), command="gipo sweep ...")
    return folder


def again(folder: StudyDir, *lines: str) -> None:
    check_same(folder, plan([*PENDULUM, *lines], name="it"))


def test_reads_back(tmp_path: Path):
    folder = written(tmp_path, "objective=gipo,sapo", "objective.sigma=0.2", "seed=1,2")
    planned = plan([*PENDULUM, "objective=gipo,sapo", "objective.sigma=0.2", "seed=1,2"], name="it")
    assert read_study(folder) == planned
    name = planned.runs[3].name
    assert read_study(folder, only=name).runs == (planned.runs[3],)
    with pytest.raises(UserError, match="has no run 'x'"):
        read_study(folder, only="x")


@pytest.mark.parametrize(
    "change", [lambda text: text.replace('"seed": 1', '"seed": 9'), lambda text: text[:-100]]
)
def test_edited_or_cut_off(tmp_path: Path, change):
    folder = written(tmp_path, "seed=1,2")
    folder.manifest.write_text(change(folder.manifest.read_text()))
    with pytest.raises(UserError, match=r"damaged.*not edited by hand"):
        read_study(folder)
    with pytest.raises(UserError, match="damaged"):
        again(folder, "seed=1,2")


def test_other_format(tmp_path: Path):
    folder = written(tmp_path, "seed=1")
    write_sealed(folder.manifest, read_sealed(folder.manifest) | {"format": 99})
    with pytest.raises(UserError, match="has format 99 of gipo"):
        read_study(folder)


def test_a_plan_that_leads_elsewhere_is_refused(tmp_path: Path):
    """Its seal is no secret: anybody can write one."""
    folder = written(tmp_path, "seed=1")
    content = read_sealed(folder.manifest)
    for change in ({"study": "../up"}, {"runs": [content["runs"][0] | {"name": "../../up"}]}):
        write_sealed(folder.manifest, content | change)
        with pytest.raises(UserError, match="cannot be a run's name"):
            read_study(folder)
    one = content["runs"][0]
    odd = [one | {"config": 5}, one | {"config": "seed"}, one | {"overrides": 5}, one | {"overrides": [None]}]
    for change in (
        *({"runs": 3}, {"runs": [{"name": "x"}]}, {"study": 5}, {"overrides": None}, {"overrides": "seed=1"}),
        *({"runs": [run]} for run in odd),
    ):
        write_sealed(folder.manifest, content | change)
        with pytest.raises(UserError, match="is not a plan of this gipo"):
            read_study(folder)


def test_different_study_says_what_differs(tmp_path: Path):
    folder = written(tmp_path, "buffer.size=600,700", "seed=1,2")
    again(folder, "buffer.size=600,700", "seed=1,2")
    again(folder, "seed=1,2,3", "buffer.size=600,700")
    with pytest.raises(UserError, match=r"buffer\.size 600,700 there, 600,800 here; choose"):
        again(folder, "buffer.size=600,800", "seed=1,2")
    with pytest.raises(UserError, match="seed 1,2 there, 1 here"):
        again(folder, "buffer.size=600,700", "seed=1")


def test_budget_can_only_be_raised(tmp_path: Path):
    folder = written(tmp_path, "seed=1")
    check_same(folder, plan([*PENDULUM[:2], "total_steps=3000", "seed=1"], name="it"))
    with pytest.raises(UserError, match="total_steps=2000, which can only be raised and not lowered to 1000"):
        check_same(folder, plan([*PENDULUM[:2], "total_steps=1000", "seed=1"], name="it"))


def test_more_steps_are_another_study_where_the_learning_rate_decays(tmp_path: Path):
    decaying = "agent.update.lr_schedule=cosine"
    folder = written(tmp_path, decaying, "seed=1,2")
    longer = plan([*PENDULUM[:-1], decaying, "seed=1,2", "total_steps=3000"], name="it")
    with pytest.raises(UserError, match="lr_schedule=cosine ends: 3000 steps are other runs"):
        check_same(folder, longer)
    again(folder, decaying, "seed=1,2,3")
    check_same(folder, replace(longer, allow_changes=True))


def test_some_other_folder_is_left_alone(tmp_path: Path):
    folder = StudyDir(tmp_path / "it")
    folder.path.mkdir()
    (folder.path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is no study's folder"):
        again(folder, "seed=1")


def test_a_plan_that_is_gone_is_named_or_written_anew(tmp_path: Path):
    """Runs that are all of this study tell what the folder is for; their own configurations are checked."""
    folder = written(tmp_path, "seed=1,2")
    folder.run(read_study(folder).runs[0].name).mkdir()
    folder.manifest.unlink()
    again(folder, "seed=1,2")
    with pytest.raises(UserError, match=r"study\.json is missing, and Pendulum-v1-.* is no run of this"):
        again(folder, "seed=3,4")


def test_holds_the_whole_configuration(tmp_path: Path):
    """So that a changed file in conf/ cannot change a run that is already planned."""
    folder = written(tmp_path, "seed=1")
    content = json.loads(folder.manifest.read_text())
    assert content["runs"][0]["config"]["agent"]["update"]["rounds"] == 20
    assert content["directory"] == str(Path.cwd())


def difference(folder: Path, *changes: str) -> str:
    study = StudyDir(folder / "it")
    write_study(study, plan(PENDULUM, name="it"), command="gipo sweep ...")
    with pytest.raises(UserError) as caught:
        check_same(study, plan([*PENDULUM, *changes], name="it"))
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
