import logging
import time

from ml_backend.logs import LONGEST_LINE, OneLine


def line(message, **options):
    record = logging.LogRecord("ml_backend", 30, "f.py", 1, message, None, None, **options)
    return OneLine().format(record)


def test_what_comes_from_outside_cannot_forge_a_line():
    assert line("refused: 'a\n2026 INFO b\r'").endswith(r"refused: 'a\n2026 INFO b\r'")


def test_what_comes_from_outside_cannot_steer_a_terminal():
    written = line("refused GET /projects/\x1b[2J\x00\x85\u2028点 to 127.0.0.1")
    assert written.endswith(r"refused GET /projects/\x1b[2J\x00\x85\u2028点 to 127.0.0.1")


def test_a_line_has_an_end():
    written = line("\x00" + "x" * 1_000_000)
    assert len(written) == LONGEST_LINE + len(r"\x00") - 1
    assert written.endswith("xx…")


def test_moments_are_in_utc_and_say_so(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        record = logging.makeLogRecord({"msg": "ready", "created": 0.25, "msecs": 250.0})
        assert OneLine().format(record).startswith("1970-01-01 00:00:00.250Z ")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_trace_keeps_its_lines():
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("x", 40, "f.py", 1, "unforeseen", None, None)
        record.exc_info = (ValueError, error, error.__traceback__)
    assert len(OneLine().format(record).splitlines()) > 3
