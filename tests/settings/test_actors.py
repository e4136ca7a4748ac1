"""Settings of actors that do not go together are refused with what to type."""

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["actors.lag=4"], "actors: lag goes with actors=scheduled; add that, or leave it out"),
        (["actors=processes", "actors.lag_kind=uniform"], "lag_kind goes with actors=scheduled"),
        (["actors.n=2"], "n goes with actors=processes or actors=ray; add that"),
        (["actors=scheduled", "actors.max_lag=2"], "max_lag goes with actors=processes or actors=ray"),
        (["actors=processes", "actors.address=10.0.0.1:6379"], "address goes with actors=ray"),
        (["actors=processes", "actors.max_lag=-1"], "actors.max_lag=-1 is out of range: it must be >= 0"),
    ],
)
def test_what_does_not_go_together_is_refused(lines, message):
    with pytest.raises(UserError, match=message):
        compose(lines)


def test_what_goes_together_composes():
    actors = compose(["actors=ray", "actors.n=3", "actors.max_lag=2", "actors.overflow=drop"]).config.actors
    assert (actors.kind, actors.n, actors.max_lag, actors.overflow) == ("ray", 3, 2, "drop")
    assert actors.elsewhere
    assert compose(["actors=scheduled", "actors.lag=4"]).config.actors.in_agent
