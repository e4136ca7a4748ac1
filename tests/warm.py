"""``gipo`` in a process of its own, without the seconds that its imports take.

A server that has imported everything forks one process for each command. What a command does there, it does
as in a process that was started: folder, environment, streams, signals and exit code are its own. Use a cold
process where start-up itself is tested: imports, ``MUJOCO_GL``, ``python`` options, terminals.
"""

import atexit
import functools
import importlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading

STATUS = struct.Struct("i")
NEEDED = (
    "gymnasium.envs.classic_control",
    "gymnasium_robotics",
    "hydra",
    "hydra.core.override_parser.overrides_parser",
    "metaworld",
    "torch._dynamo",  # which the first optimizer imports
    "torch.utils.tensorboard",
    *(f"gipo_cli.{name}" for name in ("analysis.live", "commands.app", "compare.report", "training.session")),
)


def finish(arguments, *, cwd, env=None, timeout=300):
    """As ``subprocess.run`` with captured text."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Warm(arguments, cwd=cwd, env=env, **streams) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Warm(subprocess.Popen):
    """A ``Popen`` of ``gipo ARGUMENTS``; only ``cwd``, ``env``, streams and ``start_new_session`` count."""

    def __init__(self, arguments, **kwargs):
        super().__init__(["gipo", *map(str, arguments)], **kwargs)

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest):
        _, _, _, stdin, _, _, stdout, _, stderr, _, _, _, _, _, new_session, _ = rest
        self._report, theirs = os.pipe()
        streams = [given if given != -1 else usual for usual, given in enumerate((stdin, stdout, stderr))]
        request = pickle.dumps(
            (args[1:], os.fspath(cwd or os.getcwd()), dict(env or os.environ), new_session)
        )
        connection = socket.socket(socket.AF_UNIX)
        with connection:
            connection.connect(server())
            socket.send_fds(connection, [struct.pack("i", len(request))], [*streams, theirs])
            connection.sendall(request)
        for descriptor in {theirs, stdin, stdout, stderr} - {-1}:
            os.close(descriptor)
        self.pid = STATUS.unpack(os.read(self._report, STATUS.size))[0]
        self._child_created = True

    def _try_wait(self, wait_flags):
        if wait_flags == 0 or self._ended():
            status = os.read(self._report, STATUS.size)
            os.close(self._report)
            return self.pid, STATUS.unpack(status)[0]
        return 0, 0

    def _internal_poll(self, *_, **__):
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode

    def _ended(self):
        import select

        return bool(select.select([self._report], [], [], 0)[0])


@functools.cache
def server():
    """Address of this process's server, which ends with it."""
    address = f"\0gipo-warm-{os.getpid()}"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(listening.fileno())],
        pass_fds=[listening.fileno()],
        env=environment,
        stdin=subprocess.PIPE,  # whose end tells the server that this process is gone
    )
    listening.close()
    atexit.register(process.kill)
    return address


def serve(descriptor):
    """Fork a process for each request, until whoever started this one is gone."""
    for name in NEEDED:
        importlib.import_module(name)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(fileno=descriptor)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            keep(connection)


def _end_with_parent():
    os.read(0, 1)
    os._exit(0)


def keep(connection):
    """Fork the command, report its pid, then its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 4)
    request = b""
    while len(request) < struct.unpack("i", head)[0]:
        request += connection.recv(1 << 16)
    *streams, report = descriptors
    if (pid := os.fork()) == 0:
        os.close(report)
        connection.close()
        command(streams, *pickle.loads(request))
    for descriptor in streams:
        os.close(descriptor)
    os.write(report, STATUS.pack(pid))
    os.write(report, STATUS.pack(os.waitpid(pid, 0)[1]))
    os._exit(0)


def command(streams, arguments, folder, environment, new_session):
    """Be ``gipo ARGUMENTS``."""
    code = 1
    try:
        if new_session:
            os.setsid()
        for usual, descriptor in enumerate(streams):
            os.dup2(descriptor, usual)
        for descriptor in set(streams) - {0, 1, 2}:
            os.close(descriptor)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdin = open(0, errors="surrogateescape")  # noqa: SIM115
        sys.stdout = open(1, "w")  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
        sys.argv = ["gipo", *arguments]
        from gipo_cli.commands.app import main

        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120
        os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
