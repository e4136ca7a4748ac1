import os

import pytest

from gipo_cli.compare.output import check_output, write_folder
from gipo_cli.errors import UserError


def filled(out, text="new", name="file"):
    write_folder(out, {name: text.encode()}, lambda name: name.endswith("file"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError(13, "Permission denied")])
def test_a_new_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch, error):
    def stop(*_):
        raise error

    out = tmp_path / "deep" / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises((KeyboardInterrupt, UserError)):
            filled(out)
    assert list(out.parent.iterdir()) == []
    filled(out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_others_put_there_is_kept_and_what_is_old_goes(tmp_path):
    out = tmp_path / "out"
    filled(out, "old", "deep/old file")
    (out / "theirs").write_text("precious")
    (out / "link").symlink_to("theirs")
    filled(out)
    assert (out / "file").read_text() == "new"
    assert (out / "theirs").read_text() == "precious"
    assert os.readlink(out / "link") == "theirs"
    assert not (out / "deep" / "old file").exists()
    assert sorted(path.name for path in out.iterdir()) == ["deep", "file", "link", "theirs"]


def test_nothing_is_written_through_a_link(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    filled(out)
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (out / "deep").symlink_to(elsewhere)
    with pytest.raises(UserError, match="deep is a link"):
        filled(out, name="deep/file")
    (out / "file").unlink()
    (out / "file").symlink_to(elsewhere / "file")
    filled(out)
    assert (elsewhere / "file").read_text() == "precious"
    assert (out / "file").read_text() == "new"


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


def test_a_link_is_refused_by_name(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to("there")
    with pytest.raises(UserError, match=f"{tmp_path / 'out'} is a link, and gipo writes through none"):
        check_output(tmp_path / "out", "report", lambda folder: True, force=True)
