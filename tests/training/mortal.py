"""Processes that die: each is forked from one that has loaded torch, which takes seconds.

And torch's compiler, which torch itself loads when it makes an optimizer.
"""

import multiprocessing

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.training.disc_project", "torch._dynamo"])


def exit_code(target, *arguments):
    """Call a function of a module in a process of its own; -9 says that SIGKILL ended it."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode
