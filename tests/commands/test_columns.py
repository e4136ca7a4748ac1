from gipo_cli.commands.columns import aligned

ROWS = [["run", "seed", "buffer", "state"], ["reach", "1", "5000", "done"]]


def test_as_many_optional_columns_as_fit():
    assert aligned(ROWS) == ["run    seed  buffer  state", "reach  1     5000    done"]
    assert aligned(ROWS, 26, [1, 2]) == aligned(ROWS)
    assert aligned(ROWS, 25, [1, 2]) == ["run    seed  state", "reach  1     done"]
    assert aligned(ROWS, 17, [1, 2]) == ["run    state", "reach  done"]


def test_a_first_cell_that_leaves_no_room_has_a_line_of_its_own():
    assert aligned(ROWS, 11, [1, 2]) == [
        "run",
        "    seed  buffer  state",
        "reach",
        "    1     5000    done",
    ]
