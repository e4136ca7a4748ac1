import math

import pytest

from gipo_cli.text import duration, flatten, printable, sparkline


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (math.nan, "-"), (math.inf, "-"), (0, "0:00:00"), (59.2, "0:01:00"), (3661, "1:01:01")],
)
def test_duration(seconds: float | None, words: str):
    assert duration(seconds) == words


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [{"e": 2}]}) == {"a.b": 1, "a.c": {}, "d": [{"e": 2}]}


@pytest.mark.parametrize("text", ["größe 名前", "a b", ""])
def test_ordinary_text_stays(text: str):
    assert printable(text) == text


@pytest.mark.parametrize("code", [*range(32), 127, *range(128, 160), 0x202E, 0x2028])
def test_nothing_that_a_terminal_obeys_stays(code: int):
    assert printable(f"a{chr(code)}b").isascii()
    assert printable(f"a{chr(code)}b").isprintable()


def test_sparkline():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    # Pairs are averaged: 1, 5 and 9.
    assert sparkline([0, 2, 4, 6, 8, 10], 3) == "▁▅█"
    assert (sparkline([], 5), sparkline([3, 3], 5)) == ("", "▄▄")
