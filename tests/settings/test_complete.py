import pytest

from gipo_cli.settings.complete import complete


@pytest.mark.parametrize(
    ("incomplete", "typed", "expected"),
    [
        ("env=fetch_p", [], ["env=fetch_pick_and_place", "env=fetch_push"]),
        ("fetch_p", ["env", "="], ["fetch_pick_and_place", "fetch_push"]),
        ("", ["seed=1", "preset"], ["authors", "default", "default_0_1", "posttrain", "sb3_ppo"]),
        ("agent.ratio=", [], ["agent.ratio=joint", "agent.ratio=per_dimension"]),
        ("objective.side=u", [], ["objective.side=upper"]),
        ("logging.tens", [], ["logging.tensorboard=true", "logging.tensorboard=false"]),
        ("env.vec", [], ["env.vector=dummy", "env.vector=subproc"]),
        ("env.reward=s", [], ["env.reward=sparse", "env.reward=success", "env.reward=shifted"]),
        ("env.reward=n", [], ["env.reward=null"]),
        ("objective.s", ["objective", "=", "tis"], []),
        ("objective.", ["objective=tis"], [f"objective.c={value}" for value in ("0.5", "1", "2", "5")]),
        ("objective.", ["objective=ppo_clip,tis"], ["objective.eps=", "objective.c=", "objective.eps_high="]),
        ("see", [], ["seed="]),
        ("seed=", [], []),
        ("no.such=", [], []),
    ],
)  # fmt: skip
def test_words(incomplete: str, typed: list[str], expected: list[str]):
    assert complete(incomplete, typed) == expected


def test_an_empty_word_offers_every_group_and_key():
    words = complete("", ["seed", "=", "1"])
    assert {"env=", "objective=", "buffer.size=", "objective.sigma=", "total_steps="} <= set(words)
    assert len(words) == len(set(words))
