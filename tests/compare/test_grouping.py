import pytest
from synthetic_runs import config, write_run

from gipo_cli.compare.baseline import match_baseline
from gipo_cli.compare.grouping import environment_labels, filter_runs, group_runs, resolve_key
from gipo_cli.compare.load import load_run
from gipo_cli.errors import UserError


@pytest.fixture
def make(tmp_path):
    def made(*trees):
        folders = [write_run(tmp_path / str(i), tree, [0.5], metrics=False) for i, tree in enumerate(trees)]
        return [load_run(folder) for folder in folders]

    return made


def labels(grouping):
    return [arm.label for arm in grouping.arms]


def test_seeds_are_never_a_group(make):
    grouping = group_runs(make(*(config(seed=seed) for seed in range(3))))
    assert labels(grouping) == ["GIPO"]
    with pytest.raises(UserError, match="Seeds are repetitions"):
        group_runs(make(config(seed=8)) if False else [], ["seed"]) if False else group_runs(
            make_more(make), ["seed"]
        )


def make_more(make):
    return make.__wrapped__ if hasattr(make, "__wrapped__") else _runs(make)


def _runs(make):
    return make(config(seed=11, env="other"))
