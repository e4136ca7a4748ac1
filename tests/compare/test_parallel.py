import os

from gipo_cli.compare.parallel import spread, worth


def double(shared, item):
    return shared + 2 * item


def test_results_come_in_order_from_one_process_or_several():
    assert list(spread(double, 1, range(5), workers=1)) == list(spread(double, 1, range(5), workers=2))


def test_many_runs_and_large_files_are_worth_processes(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [worth(2), worth(40), worth(2, 10**9)] == [1, 2, 2]
