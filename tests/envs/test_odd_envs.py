"""Environments of other people on the command line: what is odd is right, or is one sentence."""

import pytest
from env_tools import train


@pytest.mark.parametrize("flag", ["{task:false}", "[0]"])
def test_success_flags_are_read_by_their_value(flag, monkeypatch, capsys, tmp_path):
    code, _, _ = train(monkeypatch, capsys, tmp_path, "Says-v0", f"env.kwargs.flag={flag}")
    assert code == 0
    rows = (tmp_path / "odd" / "eval.csv").read_text().splitlines()
    assert [row.split(",")[rows[0].split(",").index("success")] for row in rows[1:]] == ["0.0"]


def test_a_flag_that_is_a_share_is_one_sentence(monkeypatch, capsys, tmp_path):
    code, _, errors = train(monkeypatch, capsys, tmp_path, "Says-v0", "env.kwargs.flag=0.1")
    assert code == 1
    assert "info['success'] is 0.1, which says neither success nor failure" in errors
    assert "Traceback" not in errors
