import re

import pytest
from event_files import damage, write_events

from gipo_cli.compare.events import read_events
from gipo_cli.errors import UserError

TAG = "rollout/ep_rew_mean"
BETWEEN = r"bytes (\d+) to (\d+) cannot be read, between step (\d+) and (\d+)$"
AFTER = r"last (\d+) bytes cannot be read, after step (\d+)$"
POINTS = [(TAG, 100 * k, float(k)) for k in range(1, 101)]


def values(events):
    return [value for _, value, _ in events.series.get(TAG, [])]


@pytest.mark.parametrize("as_tensors", [False, True], ids=["PyTorch", "TensorFlow 2"])
def test_scalars_read_back(tmp_path, as_tensors):
    events = read_events(write_events(tmp_path, POINTS[:10], as_tensors=as_tensors))
    assert events.series == {TAG: [(100.0 * k, float(k), 1000.0 + 100 * k) for k in range(1, 11)]}
    assert events.losses == []


def test_steps_written_again_after_a_restart_count_once(tmp_path):
    points = [*POINTS[:5], *[(TAG, 100 * k, -1.0) for k in (4, 5, 6)]]
    assert values(read_events(write_events(tmp_path, points, restart=5))) == [1, 2, 3, -1, -1, -1]
    assert len(values(read_events(write_events(tmp_path / "other", points)))) == 8


def blanked(data, start, end):
    return data[:start] + bytes(end - start) + data[end:]


@pytest.mark.parametrize(
    ("change", "words", "kept"),
    [
        (lambda data: blanked(data, 2500, 2700), BETWEEN, None),
        (lambda data: blanked(data, 3000, len(data)), AFTER, None),
        (lambda data: data[:-7], AFTER, 99),
        (lambda data: data[:2000] + b"\x00" * 1_000_000 + data[2000:], "bytes .* cannot be read", None),
    ],
    ids=["garbage", "blank to the end", "cut", "a hole of a megabyte"],
)  # fmt: skip
def test_what_is_whole_is_read_and_the_rest_is_told(tmp_path, change, words, kept):
    damage(write_events(tmp_path, POINTS), change)
    events = read_events(tmp_path)
    found = values(events)
    (loss,) = events.losses
    told = re.search(words, loss)
    assert told, loss
    # What was read is right, in order, and ends and begins again at the steps that are told.
    assert found == sorted(found)
    assert set(found) < set(range(1, 101))
    missing = sorted(set(range(1, 101)) - set(found))
    assert missing == list(range(missing[0], missing[-1] + 1))
    if words == BETWEEN:
        assert (int(told[3]), int(told[4])) == (100 * (missing[0] - 1), 100 * (missing[-1] + 1))
    if words == AFTER:
        assert int(told[2]) == 100 * (missing[0] - 1)
    assert kept in (None, len(found))


def test_a_flipped_bit_anywhere_loses_no_row_without_a_word(tmp_path):
    (path,) = write_events(tmp_path, POINTS[:12]).iterdir()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        events = read_events(tmp_path)
        assert len(events.losses) == 1
        assert set(values(events)) <= set(range(1, 13))
        assert len(values(events)) >= 11


def test_folders_that_hold_no_run(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        read_events(tmp_path / "nowhere")
    with pytest.raises(UserError, match="No TensorBoard event files"):
        read_events(tmp_path)
    for name in ("a", "b"):
        write_events(tmp_path / name, POINTS[:1])
    with pytest.raises(UserError, match="several runs"):
        read_events(tmp_path)
