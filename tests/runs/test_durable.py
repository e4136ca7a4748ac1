import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import (
    open_own,
    overwrite_sealed,
    read_sealed,
    refuse_links,
    remove_leftovers,
    seal_text,
    unseal_text,
    write_sealed,
    write_text,
)


def test_text_is_utf8_whatever_the_locale_and_the_folder(tmp_path):
    folder = tmp_path / "a b é"
    folder.mkdir()
    code = (
        "from pathlib import Path; from gipo_cli.runs.durable import write_text;"
        "write_text(Path.cwd() / 'a', chr(252))"
    )
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run([sys.executable, "-X", "utf8=0", "-c", code], cwd=folder, check=True, env=environment)
    assert (folder / "a").read_bytes() == "ü".encode()


def test_a_word_that_is_not_text_can_still_be_written(tmp_path):
    write_text(tmp_path / "command.txt", os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "command.txt").read_bytes() == b"caf\\udce9"


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_sealed(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sealed_content_round_trips(tmp_path):
    content = {"a": [1, 2.5, None, "ü", {"b": True}], "big": 2**100, "tiny": 5e-324}
    write_sealed(tmp_path / "a.json", content)
    assert read_sealed(tmp_path / "a.json") == content
    overwrite_sealed(tmp_path / "a.json", {"b": 1})
    assert read_sealed(tmp_path / "a.json") == {"b": 1}


def test_every_changed_or_missing_byte_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    content = {"step": 1234, "state": "done", "score": [0.5, -1e-9]}
    write_sealed(path, content)
    whole = path.read_bytes()
    variants = [whole[:n] for n in range(len(whole) - 1)]
    variants += [
        whole[:n] + bytes([whole[n] ^ bit]) + whole[n + 1 :] for n in range(len(whole)) for bit in (1, 128)
    ]
    refused = 0
    for variant in variants:
        path.write_bytes(variant)
        try:
            # Where the change is in white space, the content is still what was written.
            assert read_sealed(path) == content
        except UserError:
            refused += 1
    assert refused > 0.9 * len(variants)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"seal": "x"}', b"[" * 100_000, b"\xff\xfe", b"1e999"]
)
def test_foreign_files_are_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_sealed(tmp_path / "a.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_sealed(tmp_path / "missing.json")


def test_a_pipe_does_not_make_a_reader_wait(tmp_path):
    os.mkfifo(tmp_path / "status.json")
    with pytest.raises(UserError, match=r"status\.json is a pipe"):
        read_sealed(tmp_path / "status.json")


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"n": -1, "text": ""})
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from gipo_cli.runs.durable import write_sealed
        n = 0
        while True:
            write_sealed(Path(sys.argv[1]), {"n": n, "text": "x" * 5000})
            n += 1
        """
    )
    for delay in (0.0, 0.011, 0.023):
        before = read_sealed(path)["n"]
        with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
            while read_sealed(path)["n"] == before:
                time.sleep(0.001)
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        content = read_sealed(path)
        assert len(content["text"]) == 5000
        write_sealed(path, {"n": -2, "text": ""})
    remove_leftovers(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_disk_that_refuses_leaves_the_old_content_and_one_sentence(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"old": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunFailed, match=r"could not write .*a\.json: File too large"):
            write_sealed(path, {"new": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_sealed(path) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_sealed_text_round_trips_and_notices_a_change():
    text = "seed: 1\nname: ü\n"
    sealed = seal_text(text).encode()
    assert unseal_text(sealed) == text.encode()
    assert unseal_text(sealed.replace(b"1", b"2", 1)) is None
    assert unseal_text(text.encode()) is None
    assert unseal_text(b"") is None


WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@pytest.mark.parametrize("flags", [WRITE, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND])
def test_nothing_is_opened_for_writing_that_is_no_plain_file_of_the_folder(tmp_path, flags):
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link").symlink_to(target)
    (folder / "dangling").symlink_to(tmp_path / "made")
    os.link(target, folder / "second")
    os.mkfifo(folder / "pipe")
    for name, message in {
        "link": "link is a link",
        "dangling": "dangling is a link",
        "second": "second is a link",
        "pipe": "pipe is a pipe or a device",
    }.items():
        with pytest.raises(UserError, match=message):
            open_own(folder / name, flags)
    assert target.read_text() == "precious"
    assert not (tmp_path / "made").exists()
    (folder / "own").touch()
    os.close(open_own(folder / "own", flags))


def test_a_link_anywhere_inside_is_refused_but_the_folder_may_be_one(tmp_path):
    folder = tmp_path / "run"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (tmp_path / "mine").symlink_to(folder)
    refuse_links(tmp_path / "mine")
    (folder / "a" / "b" / "up").symlink_to(tmp_path)
    with pytest.raises(UserError, match="a/b/up is a link"):
        refuse_links(tmp_path / "mine")


@pytest.mark.parametrize("write", [write_text, lambda path, text: write_sealed(path, {"text": text})])
def test_replacing_a_link_replaces_the_link(tmp_path, write):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a.json").symlink_to(tmp_path / "target")
    write(tmp_path / "a.json", "new")
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "a.json").is_symlink()
    (tmp_path / f".tmp-{os.getpid()}-b.json").symlink_to(tmp_path / "target")
    with pytest.raises(UserError, match="is a link"):
        write(tmp_path / "b.json", "new")
    assert (tmp_path / "target").read_text() == "precious"
