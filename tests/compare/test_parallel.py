import os
import signal
import subprocess
import sys
import time

from gipo_cli.compare.parallel import spread, worth


def double(shared, item):
    return shared + 2 * item


def test_results_come_in_order_from_one_process_or_several():
    assert list(spread(double, 1, range(5), workers=1)) == list(spread(double, 1, range(5), workers=2))


def test_many_runs_and_large_files_are_worth_processes(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [worth(2), worth(40), worth(2, 10**9)] == [1, 2, 2]


def test_workers_do_not_outlive_a_killed_parent():
    code = (
        "import os, time\n"
        "from gipo_cli.compare.parallel import spread\n"
        "def work(shared, item):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "list(spread(work, None, [0, 1], workers=2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = [worker for worker in workers if alive(worker)]
        for worker in left:
            os.kill(worker, signal.SIGKILL)
    assert left == []


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
