"""Sentences for mistakes in a configuration."""

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose
from gipo_cli.settings.explain import shown
from gipo_cli.settings.schema import PolicyConfig


def test_a_section_that_is_set_as_a_value_names_its_keys():
    with pytest.raises(UserError) as caught:
        compose(["agent.policy=layernormm"])
    keys = [f"agent.policy.{name}" for name in PolicyConfig.model_fields]
    assert str(caught.value).endswith(f"is a section, not a value; set one of its keys: {', '.join(keys)}")


def test_a_gpu_is_called_cuda():
    with pytest.raises(UserError, match="did you mean cuda"):
        compose(["runtime.device=gpu"])


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (0, "0"), ("a", "a"), ([1], "[1]")]
)
def test_values_are_shown_as_they_are_typed(value, text):
    assert shown(value) == text
