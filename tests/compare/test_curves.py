import numpy as np
import pytest

from gipo_cli.compare.curves import area_under, common_grid, final_value, on_grid, steps_to_threshold

STEPS = np.array([10.0, 20.0, 30.0, 40.0])
VALUES = np.array([0.0, 0.5, 0.4, 1.0])


def test_the_grid_is_the_runs_own_steps_where_they_agree():
    assert common_grid([STEPS, STEPS]).tolist() == STEPS.tolist()


def test_curves_are_cut_to_the_range_all_runs_cover():
    grid = common_grid([STEPS, np.array([15.0, 35.0])])
    assert (grid[0], grid[-1], len(grid)) == (15, 35, 100)
    assert common_grid([STEPS, STEPS[:2]]).tolist() == [10, 20]


def test_ranges_that_do_not_meet_have_no_grid():
    assert len(common_grid([np.array([1.0, 2.0]), np.array([3.0, 4.0])])) == 0


def test_one_common_point_is_a_grid():
    assert common_grid([np.array([7.0]), np.array([7.0])]).tolist() == [7]


def test_values_between_steps_are_interpolated_and_none_are_invented_outside():
    np.testing.assert_allclose(on_grid(np.array([5.0, 15.0, 40.0]), STEPS, VALUES), [np.nan, 0.25, 1.0])


@pytest.mark.parametrize(("horizon", "value"), [(40, 1.0), (39, 0.4), (33, 0.4), (20, 0.5)])
def test_final_value_is_that_of_the_last_tenth_or_the_last_before(horizon, value):
    assert final_value(STEPS, VALUES, horizon) == value


def test_final_value_averages_over_the_last_tenth():
    steps = np.arange(1.0, 101.0)
    assert final_value(steps, steps, 100) == np.mean(np.arange(91, 101))


def test_time_to_threshold_is_the_first_step_at_it_within_the_horizon():
    assert steps_to_threshold(STEPS, VALUES, 0.5, 40) == 20
    assert steps_to_threshold(STEPS, VALUES, 0.9, 40) == 40
    assert steps_to_threshold(STEPS, VALUES, 0.9, 39) == np.inf


def test_area_of_a_straight_line_is_its_middle():
    grid = np.linspace(2, 10, 7)
    np.testing.assert_allclose(area_under(grid, np.stack([3 * grid, np.ones(7)])), [18, 1])
    assert area_under(np.array([5.0]), np.array([[0.25]])).tolist() == [0.25]
