import os
import stat

import pytest
import yaml
from event_files import damage, write_events
from synthetic_runs import config, write_run

from gipo_cli.compare.gather import gather, search
from gipo_cli.compare.import_tb import import_tb
from gipo_cli.compare.load import read_run
from gipo_cli.compare.notes import notes
from gipo_cli.compare.summary import summarise
from gipo_cli.errors import UserError

SETTINGS = ["env.name=reach", "objective.name=ppo_clip", "seed=5", "buffer.size=2000"]


SB3 = [
    ("rollout/ep_rew_mean", 2048, -3.0), ("rollout/success_rate", 2048, 0.25),
    ("eval/mean_reward", 4000, 7.5),
    ("eval/success_rate", 4000, 0.5), ("eval/mean_reward", 8000, 9.5),
    ("eval/success_rate", 8000, 0.75), ("time/fps", 2048, 99.0),
]  # fmt: skip
AUTHORS = [
    ("System/EnvSteps", 0, 500.0), ("System/EnvSteps", 1, 1000.0), ("System/EnvSteps", 2, 1500.0),
    ("Eval/return_mean", 1, 12.0), ("Eval/success_mean", 1, 0.0), ("Eval/return_mean", 2, 15.0),
    ("Eval/success_mean", 2, 1.0), ("Rollout/ReturnMean", 0, 4.0),
]  # fmt: skip


def test_a_stable_baselines_folder_becomes_a_run(tmp_path):
    write_events(tmp_path / "PPO_1", SB3)
    import_tb(tmp_path / "PPO_1", out=tmp_path / "run", settings=SETTINGS)
    run = read_run(tmp_path / "run", extra_column="train/return")
    assert run.eval.numbers["step"].tolist() == [4000, 8000]
    assert run.eval.numbers["success"].tolist() == [0.5, 0.75]
    assert run.eval.numbers["return_mean"].tolist() == [7.5, 9.5]
    assert run.column("metrics", "train/return")[1].tolist() == [-3.0]
    assert (run.seed, run.objective, run.state, run.budget, run.buffer) == (5, "ppo_clip", "done", 8000, 2000)
    assert run.eval.numbers["time/wall"].tolist() == [8000 - 6048, 8000 - 2048]


def test_of_a_step_logged_twice_the_later_value_counts(tmp_path):
    write_events(tmp_path / "tb", [("eval/mean_reward", 4000, 9.0), ("eval/mean_reward", 4000, 2.0)])
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    assert read_run(tmp_path / "run").eval.numbers["return_mean"].tolist() == [2.0]


def test_settings_are_read_back_as_they_were_meant(tmp_path):
    write_events(tmp_path / "tb", SB3)
    odd = ["env.name=no", "objective.name=gipo", "objective.sigma=5e-1", "buffer.size=1e5", "seed=5"]
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=odd)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["env"]["name"], config["objective"]["sigma"]) == ("no", 0.5)
    assert (config["buffer"]["size"], type(config["buffer"]["size"])) == (100_000, int)


def test_a_stated_budget_is_the_runs(tmp_path):
    write_events(tmp_path / "tb", SB3)
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=[*SETTINGS, "total_steps=7500"])
    assert read_run(tmp_path / "run").budget == 7500


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o027, 0o750)])
def test_others_may_read_what_the_umask_lets_them(tmp_path, mask, mode):
    write_events(tmp_path / "tb", SB3)
    before = os.umask(mask)
    try:
        import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == mode


def test_the_authors_iterations_become_environment_steps(tmp_path):
    write_events(tmp_path / "tb", AUTHORS)
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    run = read_run(tmp_path / "run")
    assert run.eval.numbers["step"].tolist() == [1000, 1500]
    assert run.eval.numbers["success"].tolist() == [0.0, 1.0]


def test_other_tags_and_step_units_can_be_named(tmp_path):
    write_events(tmp_path / "tb", [("charts/episodic_return", 3, 1.5), ("charts/won", 3, 1.0)])
    import_tb(
        tmp_path / "tb",
        out=tmp_path / "run",
        settings=SETTINGS,
        tags=["charts/episodic_return=train/return", "charts/won=success"],
        steps_per_tick=128,
    )
    run = read_run(tmp_path / "run", extra_column="train/return")
    assert run.column("metrics", "train/return")[0].tolist() == [384]
    assert run.eval.numbers["success"].tolist() == [1.0]


def test_a_tag_may_hold_an_equals_sign(tmp_path):
    write_events(tmp_path / "tb", [("mean reward (n=20)", 3, 1.5)])
    import_tb(
        tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS, tags=["mean reward (n=20)=return_mean"]
    )
    assert read_run(tmp_path / "run").eval.numbers["return_mean"].tolist() == [1.5]


def test_a_damaged_record_is_an_unfinished_run(tmp_path):
    points = [("eval/success_rate", 100 * k, k / 100) for k in range(1, 101)]
    damage(write_events(tmp_path / "tb", points), lambda data: data[:3000] + bytes(len(data) - 3000))
    (loss,) = import_tb(tmp_path / "tb", out=tmp_path / "runs" / "theirs", settings=SETTINGS)
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"ours{seed}", config(seed=seed, total_steps=10_000), [0.5, 1.0])
    comparison = gather(search([str(tmp_path / "runs")]))
    assert [run.path.name for run in comparison.used] == ["ours1", "ours2"]
    (out,) = comparison.left_out
    assert out.reason == f"imported in part: {loss}"
    everything = gather(search([str(tmp_path / "runs")]), include_unfinished=True)
    assert len(everything.used) == 3
    (cut,) = (note for note in notes(everything) if "theirs" in note)
    assert cut.startswith("reach: everything is compared up to step ")


def test_imported_runs_compare_with_ours_and_are_pointed_out(tmp_path):
    write_events(tmp_path / "tb", SB3)
    import_tb(tmp_path / "tb", out=tmp_path / "runs" / "theirs", settings=SETTINGS)
    write_run(tmp_path / "runs" / "ours", config("gipo", total_steps=8000), [0.5, 1.0])
    comparison = gather(search([str(tmp_path / "runs")]))
    assert [row.arm.label for row in summarise(comparison)] == ["GIPO", "PPO-clip"]
    assert any("1 runs were imported" in note for note in notes(comparison))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["env.name=reach", "seed=1"], "objective.name is needed"),
        ([*SETTINGS, "seed=many"], "seed=many must be a whole number"),
        ([*SETTINGS, "seed=010"], "seed=010 must be a whole number"),
        ([*SETTINGS, "seed=true"], "seed True is no whole number; write for example --set seed=1"),
        (
            [*SETTINGS, "total_steps=1.5"],
            "total_steps 1.5 is no whole number; .* --set total_steps=1000000",
        ),
        ([*SETTINGS, "total_steps="], "total_steps= must be a whole number"),
        ([*SETTINGS, "commit=695e0514"], r"""type 'commit="695e0514"' if the value is text"""),
        ([*SETTINGS, "buffer"], "no key=value"),
        ([*SETTINGS, "seed.deep=1"], "contradicts"),
        ([*SETTINGS, "env.name=a#x"], r"""cannot be read; type 'env.name="a#x"' if the value is text"""),
    ],
)
def test_settings_that_do_not_describe_a_run(tmp_path, settings, words):
    write_events(tmp_path / "tb", SB3)
    with pytest.raises(UserError, match=words):
        import_tb(tmp_path / "tb", out=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_sources_that_hold_no_run(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        import_tb(tmp_path / "nowhere", out=tmp_path / "run", settings=SETTINGS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No TensorBoard event files"):
        import_tb(tmp_path / "empty", out=tmp_path / "run", settings=SETTINGS)
    write_events(tmp_path / "odd", [("own/tag", 1, 2.0)])
    with pytest.raises(UserError, match="is known: own/tag"):
        import_tb(tmp_path / "odd", out=tmp_path / "run", settings=SETTINGS)
    write_events(tmp_path / "rich", [(f"own/{n:02}", 1, 2.0) for n in range(25)])
    with pytest.raises(UserError, match=r"own/00, .*own/09 and 15 more; map one"):
        import_tb(tmp_path / "rich", out=tmp_path / "run", settings=SETTINGS)
    write_events(tmp_path / "many" / "a", SB3)
    write_events(tmp_path / "many" / "b", SB3)
    with pytest.raises(UserError, match="several runs"):
        import_tb(tmp_path / "many", out=tmp_path / "run", settings=SETTINGS)
    for steps in (0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="--steps-per-tick"):
            import_tb(tmp_path / "odd", out=tmp_path / "run", settings=SETTINGS, steps_per_tick=steps)


def test_a_place_that_cannot_be_written_is_told_in_one_sentence(tmp_path, monkeypatch):
    write_events(tmp_path / "tb", SB3)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match=r"x cannot be written: .*file is no folder; .*--out"):
        import_tb(tmp_path / "tb", out=tmp_path / "file" / "x", settings=SETTINGS)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gipo_cli.compare.output.os.replace", refuse)
    with pytest.raises(UserError, match="run cannot be written: Permission denied; choose"):
        import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    assert {path.name for path in tmp_path.iterdir()} == {"tb", "file"}


def test_out_is_never_overwritten_unasked(tmp_path):
    write_events(tmp_path / "tb", SB3)
    own = write_run(tmp_path / "own", config(), [0.5])
    with pytest.raises(UserError, match="no earlier import"):
        import_tb(tmp_path / "tb", out=own, settings=SETTINGS, force=True)
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    with pytest.raises(UserError, match="--force"):
        import_tb(tmp_path / "tb", out=tmp_path / "run", settings=SETTINGS)
    import_tb(tmp_path / "tb", out=tmp_path / "run", settings=[*SETTINGS[:2], "seed=6"], force=True)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["seed"] == 6
    assert {path.name for path in tmp_path.iterdir()} == {"tb", "own", "run"}
