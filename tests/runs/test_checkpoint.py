import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import OrderedDict

import numpy as np
import pytest
import torch

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.bundle import Contents, File
from gipo_cli.runs.checkpoint import CheckpointStore, Tree
from gipo_cli.runs.durable import read_sealed, write_sealed


def payload(seed=0):
    rng = np.random.default_rng(seed)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Tree(
        state={"step": seed, "rng": rng.bit_generator.state, "note": "ü", "mean": float("nan")},
        tensors={
            "policy": layer.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": {
                "torch": torch.get_rng_state(),
                "list": [1, (2.5, None)],
                "half": torch.ones(2).bfloat16(),
            },
        },
        arrays={
            "obs": rng.normal(size=(50, 7)).astype(np.float32),
            "done": rng.integers(0, 2, 50).astype(bool),
            "empty": np.zeros((0, 4), np.float32),
            "scalar": np.array(2.5),
            "strided": np.arange(24).reshape(4, 6)[:, ::2],
            "nested": {"fortran": np.asfortranarray(rng.normal(size=(3, 4))), "deep": {"0": np.arange(3)}},
        },
    )


def assert_same(found, expected):
    assert json.dumps(found.state, sort_keys=True) == json.dumps(expected.state, sort_keys=True)
    assert found.tensors.keys() == expected.tensors.keys()
    assert str(found.tensors) == str(expected.tensors)
    assert torch.equal(found.tensors["policy"]["weight"], expected.tensors["policy"]["weight"])
    assert torch.equal(found.tensors["random"]["torch"], expected.tensors["random"]["torch"])
    assert found.tensors["random"]["half"].dtype == torch.bfloat16
    assert_same_arrays(found.arrays, expected.arrays)


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if isinstance(array, dict):
            assert_same_arrays(found[name], array)
        else:
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_what_is_saved_comes_back(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints")
    expected = payload(3)
    path = store.save(1_000, expected)
    assert path.name == "step_000000001000"
    found = store.load()
    assert (found.step, found.path, found.notes) == (1_000, path, [])
    assert_same(found, expected)
    rng = np.random.default_rng()
    rng.bit_generator.state = found.state["rng"]
    original = np.random.default_rng(3)
    original.bit_generator.state = expected.state["rng"]
    assert rng.integers(2**60) == original.integers(2**60)


def test_only_what_is_asked_for_is_read(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(1, payload())
    (path / "obs.npy").write_bytes(b"damaged")
    found = store.load(1, only=("policy",))
    assert (set(found.tensors), set(found.arrays)) == ({"policy"}, set())
    with pytest.raises(UserError, match=r"obs\.npy has 7 bytes"):
        store.load(1)
    with pytest.raises(UserError, match="holds no buffer; it was saved without"):
        store.load(1, only=("policy",), needs=("policy", "buffer"))


def test_the_policy_of_what_is_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=2, every=100, best=True)
    scores = {30: 0.1, 60: 0.9, 90: 0.9, 120: None, 150: float("nan"), 180: 0.5, 210: 0.2, 240: None}
    for step, score in scores.items():
        store.save(step, payload(), score=score)
    # 60 is the first best; 120 and 210 are the first of their hundred; 210 and 240 are the newest.
    assert store.steps() == [60, 120, 210, 240]
    assert store.best_step() == 60
    assert read_sealed(tmp_path / "best.json") == {"format": 1, "step": 60, "score": [0.9]}
    assert store.load("best").step == 60
    assert store.load("last").step == 240
    assert store.load("210").step == 210


def test_several_numbers_compare_in_order(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=9)
    for step, score in {1: (1.0, -3.0), 2: (1.0, -2.0), 3: (0.5, 9.0)}.items():
        store.save(step, payload(), score=score)
    assert store.best_step() == 2


def test_without_best_none_is_kept_for_it(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=1, best=False)
    store.save(1, payload(), score=1.0)
    store.save(2, payload(), score=0.0)
    assert store.steps() == [2]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(5, payload(1))
    store.save(5, payload(2))
    assert store.load().state["step"] == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000000005"]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (7, "holds no checkpoint of step 7; it holds: 5"),
        ("best", "was evaluated, so none is the best; use last"),
        ("lats", "'lats' names no checkpoint; use last, best or a step: 5"),
        ("-5", "names no checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_there(tmp_path, which, message):
    store = CheckpointStore(tmp_path)
    store.save(5, payload())
    with pytest.raises(UserError, match=message):
        store.load(which)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(UserError, match="no usable checkpoint in"):
        CheckpointStore(tmp_path / "missing").load()


def test_another_format_is_named(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(5, payload())
    contents = read_sealed(path / "manifest.json")
    write_sealed(path / "manifest.json", {**contents, "format": 99, "gipo": "9.9"})
    with pytest.raises(UserError, match=r"format 99 of gipo 9\.9; this gipo .* reads format 2"):
        store.load()


def test_of_an_older_format_only_the_policy_is_read(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(5, payload())
    contents = read_sealed(path / "manifest.json")
    write_sealed(path / "manifest.json", {**contents, "format": 1, "gipo": "0.1.0"})
    assert "weight" in store.load(only=("policy",), needs=("policy",)).tensors["policy"]
    for only in (None, ("policy", "obs"), ("obs",)):
        with pytest.raises(UserError, match=r"written by gipo 0\.1\.0.*install gipo-cli==0\.1\.0 to resume"):
            store.load(only=only)


@pytest.mark.parametrize(
    "broken",
    [
        Tree(tensors={"a": {"b": object()}}),
        Tree(tensors={"a": [np.float64(1.0)]}),
        Tree(tensors={"a": {(1, 2): 3}}),
        Tree(arrays={"a": np.array([object()])}),
        Tree(state={"a": np.zeros(2)}),
    ],
)
def test_what_could_not_be_read_back_is_refused_when_saving(tmp_path, broken):
    store = CheckpointStore(tmp_path)
    with pytest.raises(TypeError):
        store.save(1, broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "a/b", "A", "state", "manifest", "", "a.b", ".", "é"])
def test_odd_names_of_parts_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot name a part"):
        CheckpointStore(tmp_path).save(1, Tree(arrays={name: np.zeros(1)}))


def variants(content, rng):
    """Contents with a byte flipped, cut short, lengthened or lost."""
    places = sorted({0, len(content) - 1, *(rng.randrange(len(content)) for _ in range(3))})
    for place in places:
        yield content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        yield content[:place]
        yield content[:place] + content[place + 1 :]
    yield content + b"\0"
    yield b""
    yield None


def test_any_damage_is_noticed_and_the_one_before_is_used(tmp_path):
    rng = random.Random(0)
    store = CheckpointStore(tmp_path, keep_last=2)
    store.save(1, payload(1), score=1.0)
    newest = store.save(2, payload(2), score=2.0)
    tried = 0
    for path in sorted(newest.iterdir()):
        content = path.read_bytes()
        for variant in variants(content, rng):
            path.unlink()
            if variant is not None:
                path.write_bytes(variant)
            found = store.load()
            if found.step == 2:
                # The only change that may pass is one in the white space of the list of files.
                assert path.name == "manifest.json"
                assert json.loads(variant) == json.loads(content)
                continue
            tried += 1
            assert "step_000000000002 is damaged" in found.notes[0]
            assert found.state["step"] == 1
        path.write_bytes(content)
    assert tried > 150
    assert store.load().step == 2


def test_all_damaged_is_one_sentence(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (1, 2):
        (store.save(step, payload()) / "state.json").unlink()
    with pytest.raises(UserError, match=r"no usable checkpoint in .*state\.json is missing\)$"):
        store.load()


def test_going_on_from_an_older_one_never_loses_it_to_the_damaged_newer_one(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=1)
    store.save(10, payload(10))
    (store.save(30, payload(30)) / "obs.npy").unlink()
    # keep_last=1 had dropped 10: put it back as the last good one.
    CheckpointStore(tmp_path, keep_last=9).save(10, payload(10))
    assert store.load().step == 10
    store.save(20, payload(20))
    assert store.steps() == [20, 30]
    assert store.load().step == 20
    store.save(30, payload(31))
    assert store.steps() == [30]
    assert store.load().state["step"] == 31


class Payload:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def forge(folder, name, content):
    """Put a hostile file into a checkpoint, with digests that fit."""
    import hashlib

    (folder / name).write_bytes(content)
    contents = Contents.model_validate(read_sealed(folder / "manifest.json"))
    contents.files[name] = File(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    write_sealed(folder / "manifest.json", contents.model_dump(mode="json"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_hostile_tensor_file_never_runs(tmp_path, kind):
    store = CheckpointStore(tmp_path / "checkpoints")
    folder = store.save(1, payload())
    mark, evil = tmp_path / "ran", tmp_path / "evil.pt"
    if kind == "pickle":
        evil.write_bytes(pickle.dumps(Payload(str(mark))))
    else:
        torch.save({"weight": Payload(str(mark))}, evil, _use_new_zipfile_serialization=kind == "zip")
    forge(folder, "policy.pt", evil.read_bytes())
    with pytest.raises(UserError, match=r"policy\.pt cannot be read safely"):
        store.load(1)
    assert not mark.exists()
    # The file is hostile indeed: read carelessly, it runs.
    if kind == "pickle":
        pickle.loads(evil.read_bytes())
    else:
        torch.load(evil, weights_only=False)
    assert mark.exists()


def test_a_hostile_array_file_never_runs(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints")
    folder = store.save(1, payload())
    mark = tmp_path / "ran"
    np.save(tmp_path / "evil.npy", np.array([Payload(str(mark))], dtype=object), allow_pickle=True)
    forge(folder, "obs.npy", (tmp_path / "evil.npy").read_bytes())
    with pytest.raises(UserError, match=r"obs\.npy cannot be read safely"):
        store.load(1)
    assert not mark.exists()


def test_an_array_that_claims_to_be_huge_is_refused(tmp_path):
    import io

    store = CheckpointStore(tmp_path)
    folder = store.save(1, payload())
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    forge(folder, "obs.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(UserError, match="cannot be read safely"):
        store.load(1)


@pytest.mark.parametrize("name", ["../../secret.npy", "/etc/passwd", "policy.pkl", "x.tar.gz", ".npy"])
def test_a_hostile_list_cannot_lead_out_of_the_folder(tmp_path, name):
    store = CheckpointStore(tmp_path / "a")
    folder = store.save(1, payload())
    np.save(tmp_path / "secret.npy", np.zeros(3))
    contents = Contents.model_validate(read_sealed(folder / "manifest.json"))
    contents.files[name] = File(size=152, sha256="0" * 64)
    write_sealed(folder / "manifest.json", contents.model_dump(mode="json"))
    with pytest.raises(UserError, match="is not a file of a checkpoint"):
        store.load(1)


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    store = CheckpointStore(tmp_path)
    folder = store.save(1, payload())
    (folder / "obs.npy").unlink()
    os.mkfifo(folder / "obs.npy")
    with pytest.raises(UserError, match=r"obs\.npy is missing"):
        store.load(1)


def test_a_disk_that_refuses_keeps_the_earlier_checkpoint(tmp_path):
    import resource

    store = CheckpointStore(tmp_path, keep_last=1)
    store.save(1, payload(1))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunFailed, match=r"could not write .*step_000000000002: File too large"):
            store.save(2, payload(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000000001"]
    assert store.load().state["step"] == 1


def test_leftovers_of_a_killed_replacement_are_put_right(tmp_path):
    store = CheckpointStore(tmp_path)
    whole = store.save(5, payload(5))
    shutil.copytree(whole, tmp_path / ".tmp-77-step_000000000009")
    # Killed between the two renames: the old one is hidden, the new one not there yet.
    whole.rename(tmp_path / ".old-step_000000000005")
    store.recover()
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000000005"]
    (tmp_path / ".tmp-77-best.json").write_text("half")
    # Killed after them: both are there.
    shutil.copytree(whole, tmp_path / ".old-step_000000000005")
    store.recover()
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000000005"]
    assert store.load().step == 5


SAVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np, torch
    from gipo_cli.runs.checkpoint import CheckpointStore, Tree
    store = CheckpointStore(Path(sys.argv[1]), keep_last=2)
    store.recover()
    step = store.load().step if store.steps() else 0
    while True:
        # Every step is saved twice, as when a stop follows a checkpoint.
        step += 1
        for _ in range(2):
            arrays = {"a": np.full(20_000, step), "b": np.full((100, 30), step)}
            tensors = {"w": torch.full((50,), step)}
            store.save(step, Tree({"n": step}, tensors, arrays), score=-step)
    """
)


def test_a_writer_killed_at_any_moment_leaves_good_checkpoints_only(tmp_path):
    reached, store = 0, CheckpointStore(tmp_path, keep_last=2)
    for delay in (0.0, 0.113):
        with subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)]) as saver:
            while max(store.steps(), default=0) <= reached + 1:
                assert saver.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            saver.send_signal(signal.SIGKILL)
        assert saver.returncode == -signal.SIGKILL
        store.recover()
        found = store.load()
        assert found.notes == []
        assert found.step > reached
        reached = found.step
        for step in store.steps():
            saved = store.load(step)
            assert saved.state["n"] == step
            assert np.all(saved.arrays["a"] == step)
            assert torch.all(saved.tensors["w"] == step)
        assert store.load("best").step == 1


def test_an_ordered_dict_is_plain(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, Tree(tensors={"policy": OrderedDict(a=torch.ones(2))}))
    assert torch.equal(store.load().tensors["policy"]["a"], torch.ones(2))
