"""Signals that end a command together with the servers it started, none of which may be left."""

import signal


def end_as_ctrl_c_does() -> None:
    """Let a polite kill and a closed terminal raise KeyboardInterrupt, too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def ignore_from_now_on() -> None:
    """Let no second signal disturb the end, or it would leave a server behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
