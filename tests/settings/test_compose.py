import threading
from pathlib import Path

import pytest
import yaml

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose, config_hash, to_yaml, validate


def message(*overrides: str, config_dirs: tuple[Path, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        compose(overrides, config_dirs=config_dirs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_plain_run_is_gipo_on_fetch_reach():
    composed = compose([])
    assert composed.config.env.name == "fetch_reach"
    assert composed.config.objective.name == "gipo"
    assert composed.overrides == []
    assert composed.choices["preset"] == "default"
    assert composed.choices["buffer"] == "default"


def test_values_and_groups_from_the_command_line():
    composed = compose(["env=fetch_push", "objective=sapo", "buffer.size=50000", "seed=3"])
    config = composed.config
    assert (config.env.name, config.objective.name, config.buffer.size, config.seed) == (
        "fetch_push",
        "sapo",
        50_000,
        3,
    )
    assert composed.overrides == ["env=fetch_push", "objective=sapo", "buffer.size=50000", "seed=3"]
    assert composed.choices["env"] == "fetch_push"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("agent.gama=0.9", ["agent.gama", "agent.advantage.gamma"]),
        ("bufer.size=3", ["bufer.size", "buffer.size"]),
        ("+buffer.sise=3", ["buffer.sise", "buffer.size"]),
        ("objective.sgma=1", ["sgma", "sigma", "neg_ratio"]),
        ("objective=gippo", ["gippo", "did you mean gipo", "ppo_clip", "spo"]),
        ("env=fetch_rech", ["fetch_rech", "fetch_reach", "metaworld"]),
        ("preset=author", ["author", "authors", "sb3_ppo"]),
        ("objective.sigma=0", ["objective.sigma=0", "> 0"]),
        ("objective.kernel=gauss", ["gauss", "gaussian or laplacian or cauchy"]),
        ("agent.advantage.gamma=1.01", ["1.01", ">= 0 and <= 1"]),
        ("agent.advantage.gae_lambda=-0.1", ["-0.1", ">= 0 and <= 1"]),
        ("env.action.bins=1", ["env.action.bins=1", ">= 2 and <= 65536"]),
        ("total_steps=0", ["total_steps=0", ">= 1"]),
        ("total_steps=-5", ["total_steps=-5", ">= 1"]),
        ("total_steps=1e5", ["whole number", "write 100000"]),
        ("seed=one", ["seed=one", "whole number"]),
        ("logging.tensorboard=1", ["logging.tensorboard=1", "true or false"]),
        ("agent.policy=mlp", ["agent.policy=mlp", "section"]),
        ("agent.policy.hidden=64", ["list"]),
        ("agent.policy.hidden=[64,0]", ["agent.policy.hidden.1=0", ">= 1"]),
        ("agent.ratio=joined", ["joined", "joint or per_dimension", "did you mean joint"]),
        ("runtime.device=gpu", ["auto or cpu or cuda"]),
        ("buffer.size=100", ["buffer.size=100", "smaller than one rollout of 200"]),
        ("seed=1,2", ["seed=1,2", "gipo sweep"]),
        ("fetch_reach", ["fetch_reach", "key=value"]),
        ("seed=[1", ["cannot be read"]),
        ("objective.name=sapo", ["objective=sapo"]),
        ("imports=[no_such_module_of_mine]", ["no_such_module_of_mine", "cannot import module"]),
        ("hydra.verbose=true", ["hydra.verbose"]),
        ("steps=1000", ["(did you mean total_steps?)"]),
        ("n_steps=4", ["(did you mean agent.rollout_steps?)"]),
        ("buffersize=5", ["(did you mean buffer.size?)"]),
        ("lr=1", ["(did you mean agent.update.actor_lr?)"]),
        ("learning_rate=1", ["(did you mean agent.update.actor_lr?)"]),
        ("agent.lr=1", ["(did you mean agent.update.actor_lr?)"]),
        ("clip_range=0.1", ["(did you mean objective.eps?)"]),
        ("clip=0.1", ["(did you mean objective.eps?)"]),
        ("objective.clip=0.1", ["(objective.eps is a parameter of spo, ppo_clip"]),
        ("objective.eps=0.1", ["gipo has no parameter 'eps' (objective.eps is a parameter of spo, ppo_clip"]),
        ("batch_size=1", ["(did you mean agent.update.batch_size?)"]),
        ("n_envs=2", ["(did you mean env.n_envs?)"]),
        ("gamma=0.9", ["(did you mean agent.advantage.gamma?)"]),
        ("eval.sed=3", ["did you mean eval.seed"]),
        ("interval=3", ["eval.interval", "checkpoint.interval", "diagnostics.interval"]),
        ("objective=ppo", ["(did you mean ppo_clip?)"]),
        ("objective=GIPO", ["(did you mean gipo?)"]),
        ("env=push", ["(did you mean fetch_push?)"]),
        ("env=Pendulum-v1", ["typed env=gymnasium env.id=Pendulum-v1"]),
        ("buffer=null", ["no buffer 'null'"]),
        ("buffer=5e4", ["such as buffer.size=50000"]),
        ("eval=3", ["such as eval.interval=3 (or eval.episodes=3, eval.seed=3)"]),
        ("diagnostics=false", ["no diagnostics 'false' (did you mean never?)"]),
        ("agent.policy.hidden=256,256", ["is a list; write 'agent.policy.hidden=[256,256]'"]),
        ("agent.policy.hidden=64", ["such as [64,64]"]),
        ("imports=my_objectives", ["must be a list, such as [my_module]"]),
        ("eval.interval=never", ["whole number or null"]),
        ("+objective=sapo", ["write objective=sapo, without +"]),
        ("++objective=sapo", ["write objective=sapo, without ++"]),
        ("~objective", ["write objective=NAME, without ~"]),
        ("env@foo=fetch_push", ["write env=fetch_push, without @foo"]),
        ("~bufer.size", ["did you mean buffer.size"]),
        ("+experiment=mine", ["experiment"]),
    ],
)
def test_every_mistake_is_one_sentence_with_what_is_allowed(override, words):
    text = message(override)
    for word in words:
        assert word in text


@pytest.mark.parametrize("override", ["name=foo", "env.nme=foo", "+env.nme=foo"])
def test_a_key_that_follows_from_a_choice_is_never_suggested(override: str):
    assert "env.name" not in message(override)


def test_a_knob_of_another_objective_is_refused_by_name():
    text = message("objective=sapo", "objective.sigma=1")
    assert "sapo has no parameter 'sigma'" in text
    assert "tau_pos, tau_neg" in text


def test_ppo_clip_range_is_open():
    assert "> 0 and < 1" in message("objective=ppo_clip", "objective.eps=1.0")


def test_layernorm_needs_three_widths():
    assert "three widths" in message("agent.policy.kind=layernorm")


def test_environment_kwargs_are_open():
    assert compose(["env.kwargs.width=480"]).config.env.kwargs == {"width": 480}


def test_preset_picks_files_and_the_command_line_wins():
    authors = compose(["preset=authors"]).config
    assert (authors.env.name, authors.buffer.size, authors.total_steps) == ("metaworld", 20_000, 500_000)
    mixed = compose(["preset=authors", "env=fetch_reach", "buffer=fresh", "total_steps=7000"]).config
    assert (mixed.env.name, mixed.buffer.size, mixed.total_steps) == ("fetch_reach", None, 7000)
    assert mixed.agent == authors.agent
    assert mixed.env.action.kind == "binned"


def test_preset_specialises_the_objective_and_the_command_line_wins():
    assert compose(["preset=authors", "objective=sapo"]).config.objective.tau_neg == 2.0
    assert compose(["objective=sapo"]).config.objective.tau_neg == 1.05
    assert compose(["preset=authors"]).config.objective.neg_ratio == 0.5
    typed = compose(["preset=authors", "objective=sapo", "objective.tau_neg=3"]).config
    assert typed.objective.tau_neg == 3.0


def test_sb3_preset_selects_ppo_clip_unless_another_is_typed():
    assert compose(["preset=sb3_ppo"]).config.objective.name == "ppo_clip"
    other = compose(["preset=sb3_ppo", "objective=gipo", "buffer=stale"]).config
    assert (other.objective.name, other.buffer.size, other.agent.rollout_steps) == ("gipo", 20_000, 2048)


def test_users_folder_comes_first_and_a_typed_choice_outweighs_tuning(tmp_path: Path):
    (tmp_path / "buffer").mkdir()
    (tmp_path / "buffer" / "default.yaml").write_text("size: 777\n")
    (tmp_path / "buffer" / "mine.yaml").write_text("size: 888\n")
    (tmp_path / "tuned").mkdir()
    tuned = "# @package _global_\nbuffer:\n  size: 999\nagent:\n  update:\n    rounds: 3\n"
    (tmp_path / "tuned" / "default_fetch_push.yaml").write_text(tuned)
    dirs = [tmp_path]
    assert compose(["env=fetch_slide"], config_dirs=dirs).config.buffer.size == 777
    assert compose(["env=fetch_slide", "buffer=mine"], config_dirs=dirs).config.buffer.size == 888
    push = compose(["env=fetch_push"], config_dirs=dirs)
    assert (push.config.buffer.size, push.config.agent.update.rounds) == (999, 3)
    assert push.choices["tuned"] == "default_fetch_push"
    typed = compose(["env=fetch_push", "buffer=mine"], config_dirs=dirs).config
    assert (typed.buffer.size, typed.agent.update.rounds) == (888, 3)
    assert compose(["env=fetch_push", "buffer.size=600"], config_dirs=dirs).config.buffer.size == 600
    assert "mine" in message("buffer=mien", config_dirs=(tmp_path,))


def test_users_own_table_of_contents(tmp_path: Path):
    text = "defaults: [{env: fetch_slide}, {objective: tis}, _self_]\ntotal_steps: 4242\n"
    (tmp_path / "config.yaml").write_text(text)
    config = compose([], config_dirs=[tmp_path]).config
    assert (config.env.name, config.objective.name, config.total_steps) == ("fetch_slide", "tis", 4242)


def test_the_first_of_several_folders_wins(tmp_path: Path):
    for name, size in (("first", 1001), ("second", 1002)):
        (tmp_path / name / "buffer").mkdir(parents=True)
        (tmp_path / name / "buffer" / "mine.yaml").write_text(f"size: {size}\n")
    dirs = [tmp_path / "first", tmp_path / "second"]
    assert compose(["buffer=mine"], config_dirs=dirs).config.buffer.size == 1001


def test_missing_folder_and_broken_yaml_are_user_errors(tmp_path: Path):
    assert "no configuration folder" in message(config_dirs=(tmp_path / "absent",))
    (tmp_path / "buffer").mkdir()
    (tmp_path / "buffer" / "broken.yaml").write_text("size: [1\n")
    assert "cannot be composed" in message("buffer=broken", config_dirs=(tmp_path,))


OBJECTIVE = """
from gipo_cli.core.objectives import ValueAndCoefficient, register
from gipo_cli.core.objectives import ObjectiveParams

class Mine(ObjectiveParams):
    name: str = "mine_of_test_compose"
    width: float = 2.0

@register("mine_of_test_compose", Mine)
def mine(log_prob, behaviour_log_prob, advantage, params):
    return ValueAndCoefficient(log_prob * advantage, log_prob * 0 + params.width)
"""


def test_users_objective_from_their_own_module_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "module_of_test_compose.py").write_text(OBJECTIVE)
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    file = tmp_path / "conf" / "objective" / "mine.yaml"
    file.write_text("name: mine_of_test_compose\nwidth: 1.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    dirs = [tmp_path / "conf"]
    overrides = ["objective=mine", "imports=[module_of_test_compose]"]
    config = compose(overrides, config_dirs=dirs).config
    assert config.objective.model_dump() == {"name": "mine_of_test_compose", "width": 1.5}
    assert validate(yaml.safe_load(to_yaml(config))) == config
    assert "width" in message(*overrides, "objective.wdth=1", config_dirs=tuple(dirs))


@pytest.mark.parametrize("overrides", [[], ["preset=authors"], ["preset=sb3_ppo", "env.kwargs.x={a:[1,2]}"]])
def test_yaml_round_trip(overrides: list[str]):
    config = compose(overrides).config
    again = validate(yaml.safe_load(to_yaml(config)))
    assert again == config
    assert to_yaml(again) == to_yaml(config)


def test_hash_ignores_seed_and_budget_but_not_what_is_learned():
    base = config_hash(compose([]).config)
    assert len(base) == 8
    int(base, 16)
    same = ["seed=9", "total_steps=999999", "runtime.torch_threads=2", "logging=csv", "checkpoint=light"]
    assert config_hash(compose([*same, "diagnostics=live"]).config) == base
    for other in ("objective.sigma=0.6", "buffer.size=9999", "env=fetch_push", "eval.seed=1"):
        assert config_hash(compose([other]).config) != base


def test_hydra_of_a_host_process_survives_and_threads_may_compose(tmp_path: Path):
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    (tmp_path / "host.yaml").write_text("answer: 42\n")
    seeds: list[int] = []
    with initialize_config_dir(config_dir=str(tmp_path), version_base="1.3"):
        threads = [
            threading.Thread(target=lambda k=k: seeds.append(compose([f"seed={k}"]).config.seed))
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hydra_compose("host").answer == 42
    assert sorted(seeds) == [0, 1, 2, 3]


@pytest.mark.parametrize("group", ["objective", "env"])
def test_a_file_that_repeats_its_groups_name_is_explained(tmp_path: Path, group: str):
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text(f"{group}:\n  name: gipo\n")
    said = message(f"{group}=mine", config_dirs=(tmp_path,))
    assert said.startswith(f"{group}/mine.yaml has its settings under a key '{group}'")
    assert "@package _global_" in said


@pytest.mark.parametrize(
    ("file", "text", "cure"),
    [
        ("env/mine.yaml", "n_envs: 2\n", "needs a line that says which env it is, such as name: gymnasium"),
        ("env/mine.yaml", "", "such as name: gymnasium"),
        ("objective/mine.yaml", "sigma: 0.3\n", "such as name: gipo"),
        ("preset/mine.yaml", "seed: 3\n", "must begin with the line '# @package _global_'"),
    ],
)
def test_a_file_that_lacks_a_line_is_told_which(tmp_path: Path, file: str, text: str, cure: str):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    group = file.partition("/")[0]
    said = message(f"{group}=mine", config_dirs=(tmp_path,))
    assert said.startswith(file)
    assert cure in said


def test_an_objective_of_ones_own_needs_a_file_too():
    said = message("imports=[os]", "objective=tanh")
    assert "needs a file objective/tanh.yaml in a folder given by --config-dir" in said
    assert "or add a file objective/tanh.yaml in a folder given by --config-dir" in message("objective=tanh")
    assert "--config-dir" not in message("objective=gip")


def test_a_group_of_ones_own_is_added(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    assert compose(["+experiment=mine"], config_dirs=[tmp_path]).config.seed == 7


def test_a_file_that_changed_is_read_again_and_no_composition_changes_another(tmp_path: Path):
    (tmp_path / "buffer").mkdir()
    for size in (3000, 40_000):
        (tmp_path / "buffer" / "mine.yaml").write_text(f"size: {size}\n")
        first = compose(["buffer=mine", "env.kwargs.a=[1]"], config_dirs=[tmp_path]).config
        again = compose(["buffer=mine"], config_dirs=[tmp_path]).config
        assert (first.buffer.size, again.buffer.size) == (size, size)
        assert (first.env.kwargs, again.env.kwargs) == ({"a": [1]}, {})


def test_a_preset_gives_each_objective_its_own_learning_rate(tmp_path: Path) -> None:
    folder = tmp_path / "preset_objective"
    folder.mkdir()
    (folder / "default_ppo_clip.yaml").write_text("# @package _global_\nagent: {update: {actor_lr: 0.001}}\n")

    def rate(*overrides: str) -> float:
        return compose(["env=fetch_push", *overrides], config_dirs=[tmp_path]).config.agent.update.actor_lr

    usual = rate()
    assert (rate("objective=ppo_clip"), rate("objective=sapo")) == (0.001, usual)
    assert rate("objective=ppo_clip", "agent.update.actor_lr=0.5") == 0.5
    assert rate("objective=ppo_clip", "preset=authors") == usual
