"""What cannot be given when a run is resumed, in words."""

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose
from gipo_cli.training.changes import changed


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("foo=3", "'foo' is not a value of this run; its config.yaml holds them all"),
        ("bufer.size=3", "'bufer.size' is not a value of this run (did you mean buffer.size?)"),
        ("steps=3", "(did you mean total_steps?)"),
        ("seed=1,2", "'seed=1,2' does not set one value"),
        ("~eval.interval", "'~eval.interval' does not set one value"),
        ("agent.policy=3", "'agent.policy' is not a value of this run"),
        (
            "objective=sapo",
            "the objective of a run cannot be changed; start a new run: gipo train objective=sapo",
        ),
    ],
)
def test_what_is_no_value_of_a_run(override: str, said: str):
    with pytest.raises(UserError) as caught:
        changed(compose([]).config, [override], allow=True)
    assert said in str(caught.value)
    assert "env.name" not in str(caught.value)
