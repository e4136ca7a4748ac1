import fcntl
import os

import pytest

from gipo_cli.compare.output import check_output, fresh_folder
from gipo_cli.errors import UserError


def filled(out, text="new", **options):
    with fresh_folder(out, **options) as folder:
        (folder / "file").write_text(text)


def interrupted(out):
    with fresh_folder(out) as folder:
        (folder / "file").write_text("half")
        raise KeyboardInterrupt


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt):
        interrupted(out)
    assert list(out.parent.iterdir()) == []
    filled(out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_others_put_there_is_kept(tmp_path):
    out = tmp_path / "out"
    filled(out, "old")
    (out / "theirs").write_text("precious")
    (out / "link").symlink_to("theirs")
    filled(out, is_ours=lambda name: name == "file")
    assert (out / "file").read_text() == "new"
    assert (out / "theirs").read_text() == "precious"
    assert os.readlink(out / "link") == "theirs"
    filled(out)
    assert [path.name for path in out.iterdir()] == ["file"]


def leftover(tmp_path, *names):
    folder = tmp_path / ".out-abc"
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_what_a_killed_process_left_is_removed(tmp_path):
    leftover(tmp_path, "fresh")
    filled(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_had_taken_away_is_put_back(tmp_path):
    (leftover(tmp_path, "fresh", "earlier") / "earlier" / "theirs").write_text("precious")
    filled(tmp_path / "out", is_ours=lambda name: False)
    assert (tmp_path / "out" / "theirs").read_text() == "precious"


def test_folders_in_use_and_those_of_others_are_left_alone(tmp_path):
    used = leftover(tmp_path, "fresh")
    descriptor = os.open(used, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    other = tmp_path / ".out-settings"
    (other / "fresh").mkdir(parents=True)
    (other / "mine").mkdir()
    filled(tmp_path / "out")
    os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-abc", ".out-settings", "out"]


def test_what_is_in_the_way_is_refused(tmp_path):
    out = tmp_path / "out"
    check_output(out, "report", lambda folder: False, force=False)
    out.mkdir()
    check_output(out, "report", lambda folder: False, force=False)
    (out / "file").write_text("")
    for ours, force, words in ((False, True, "no earlier report"), (True, False, "add --force")):
        with pytest.raises(UserError, match=words):
            check_output(out, "report", lambda folder, ours=ours: ours, force=force)
    check_output(out, "report", lambda folder: True, force=True)
