import logging

from ml_backend.logs import FORMAT, OneLine


def line(message, **options):
    record = logging.LogRecord("ml_backend", 30, "f.py", 1, message, None, None, **options)
    return OneLine(FORMAT).format(record)


def test_what_comes_from_outside_cannot_forge_a_line():
    assert line("refused: 'a\n2026 INFO b\r'").endswith(r"refused: 'a\n2026 INFO b\r'")


def test_a_trace_keeps_its_lines():
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("x", 40, "f.py", 1, "unforeseen", None, None)
        record.exc_info = (ValueError, error, error.__traceback__)
    assert len(OneLine(FORMAT).format(record).splitlines()) > 3
