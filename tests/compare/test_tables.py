import numpy as np
import pytest

from gipo_cli.compare import tables
from gipo_cli.compare.tables import DamagedFile, read_csv


def write(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_bytes(text.encode())
    return path


def test_numbers_and_empty_cells_equal_numpys_own_reader(tmp_path):
    text = "step,a,b\n1,0.1,\n2,,-3e-07\n3,inf,1e99\n"
    table = read_csv(write(tmp_path, text))
    expected = np.genfromtxt(text.splitlines(), delimiter=",", names=True)
    for name in ("step", "a", "b"):
        np.testing.assert_array_equal(table.numbers[name], expected[name])


def test_windows_line_ends_are_read_alike(tmp_path):
    table = read_csv(write(tmp_path, "step,a\r\n1,2\r\n3,4\r\n"))
    assert table.numbers["a"].tolist() == [2, 4]


def test_header_alone_is_a_table_without_rows(tmp_path):
    assert read_csv(write(tmp_path, "step,a\n")).numbers["a"].shape == (0,)


def test_recorded_nan_is_told_from_an_empty_cell(tmp_path):
    table = read_csv(write(tmp_path, "step,a\n1,\n2,nan\n3,-inf\n4,1\n"))
    assert table.not_finite["a"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("step,a\n1,2\n3,", "cut off in line 3"),
        ("step,a\n1,2\n3\n", "line 3: 1 cells where the header has 2"),
        ("step,a\n1,2,7\n3,4\n", "line 2: 3 cells"),
        ("a,b\n1,2\n", "no header line with a step column"),
        ("step,a,a\n1,2,3\n", "distinct names"),
        ("step,a\n5,1\n4,1\n", "go backwards"),
        ("step,a\n,1\n", "missing"),
        ('step,a\n1,"2"\n', "quoted"),
    ],
)
def test_damage_is_named(tmp_path, text, words):
    with pytest.raises(DamagedFile, match=r"metrics\.csv") as caught:
        read_csv(write(tmp_path, text))
    assert words in str(caught.value)


def test_text_in_a_number_column_is_damage_of_that_column(tmp_path):
    path = write(tmp_path, "step,a,b\n1,x,2\n")
    assert read_csv(path, ["b"]).numbers["b"].tolist() == [2]
    assert read_csv(path, ["b"], ["a", "c"]).texts["a"].tolist() == ["x"]
    with pytest.raises(DamagedFile, match="column a"):
        read_csv(path)


def test_a_line_still_being_written_is_not_read(tmp_path):
    table = read_csv(write(tmp_path, "step,a\n1,2\n3,"), still_written=True)
    assert table.numbers["a"].tolist() == [2]


@pytest.mark.parametrize("size", [7, 16, 17, 64])
def test_lines_that_lie_across_blocks_are_read_whole(tmp_path, monkeypatch, size):
    monkeypatch.setattr(tables, "BLOCK", size)
    path = write(tmp_path, "step,a\r\n" + "".join(f"{n},{n / 7}\r\n" for n in range(50)))
    if size < 9:
        with pytest.raises(DamagedFile, match="cut off in line 1"):
            read_csv(path)
        return
    table = read_csv(path)
    assert table.numbers["a"].tolist() == [n / 7 for n in range(50)]
    path.write_text(path.read_text() + "50\n")
    with pytest.raises(DamagedFile, match="line 52: 1 cells"):
        read_csv(path)


@pytest.mark.parametrize(
    "cell", ["1_0", " 2", "1e5", "+3", ".5", "5.", "-0.0", "nan", "Infinity", "1e400", "9" * 30]
)
def test_numbers_are_read_as_python_reads_them(tmp_path, cell):
    (value,) = read_csv(write(tmp_path, f"step,a\n1,{cell}\n")).numbers["a"]
    np.testing.assert_equal(value, np.inf if abs(float(cell)) > 1e100 else float(cell))


@pytest.mark.parametrize("cell", ["true", "null", "[1]", "0x10", "1 2", "{}", "NaN,"])
def test_other_words_are_no_numbers(tmp_path, cell):
    with pytest.raises(DamagedFile, match=r"column a|cells where"):
        read_csv(write(tmp_path, f"step,a\n1,{cell}\n"))
