"""The two ways a command ends badly, and nothing else."""


class UserError(Exception):
    """The request cannot be carried out as typed; nothing was started or written.

    The message is one clear sentence: what was wrong, what is allowed and what to type instead.
    The command line prints it without a traceback and exits with code 2.
    """


class RunFailed(Exception):  # noqa: N818 - a state of a run, named as the status file names it
    """A run that had started could not go on; its last good state is on disk.

    The message names the environment step and the quantity or component at fault.
    The command line prints it without a traceback and exits with code 1.
    """
