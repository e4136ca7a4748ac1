"""What is suggested for a word that is not known."""

import pytest

from gipo_cli.errors import nearest, suggest


@pytest.mark.parametrize(
    ("word", "options", "found"),
    [
        ("learning_rate", ["seed", "agent.update.actor_lr"], ["agent.update.actor_lr"]),
        ("learning_rate", ["seed"], []),
        ("NEnvs", ["env.n_envs", "env.id"], ["env.n_envs"]),
        ("lambda", ["agent.advantage.gae_lambda", "seed"], ["agent.advantage.gae_lambda"]),
        ("ES", ["train/success", "health/ess"], ["health/ess"]),
        ("loss/hess", ["train/success", "health/ess"], ["health/ess"]),
        ("ppo_klip", ["ppo_clip", "gipo"], ["ppo_clip"]),
        ("a", ["a", "a"], ["a"]),
        ("anything", [], []),
    ],
)
def test_the_nearest_options_come_first(word, options, found):
    assert nearest(word, options) == found


def test_a_suggestion_reads_on_after_the_word_it_is_for():
    assert suggest("seeed", ["seed", "lag"]) == " (did you mean seed?)"
    assert suggest("both_a", ["both_b", "both_c"]) == " (did you mean both_c or both_b?)"
    assert suggest("seeed", ["lag"]) == ""


def test_an_option_with_spaces_is_quoted():
    assert suggest("gipo s", ["GIPO, s = 1"]) == " (did you mean 'GIPO, s = 1'?)"
