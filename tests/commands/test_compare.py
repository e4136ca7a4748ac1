import pytest

from gipo_cli.commands.compare import compare
from gipo_cli.errors import UserError


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("watch", 0.0, "--watch 0 is no waiting time"),
        ("watch", float("nan"), "--watch nan"),
        ("threshold", float("nan"), "--threshold nan is no value"),
        ("threshold", float("inf"), "--threshold inf is no value"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_anything_is_read(option, value, words):
    with pytest.raises(UserError, match=words):
        compare(["nowhere"], **{option: value})
