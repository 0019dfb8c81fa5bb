"""No deed depends on a log line."""

import io
import logging
import logging.config
import os
import sys

import gevent
import pytest

from pytask import logger
from pytask.runtime.process import host


class Raising(logging.Handler):
    """A program's handler that lets out what it meets."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def emit(self, record):
        raise self.error


@pytest.fixture
def around(monkeypatch):
    """Hangs a handler, a filter or the like into the root logger for one test."""
    handlers = list(logging.root.handlers)
    monkeypatch.setattr(logger, "_reported", set())
    yield logging.root.addHandler
    logging.root.handlers[:] = handlers


LOG = logger.get_logger("pytask.tests")


@pytest.mark.parametrize("error", [ValueError("no"), OSError(9, "bad"), SystemExit(1), gevent.Timeout(1)])
def test_a_handler_that_raises_loses_the_line_and_nothing_else(around, capsys, error):
    around(Raising(error))
    LOG.error("one")
    LOG.warning("two")
    assert capsys.readouterr().err.count("a line is lost") == 1  # once, and not for every line


def test_so_does_a_filter_and_a_formatter(around):
    def refuse(_):
        raise ValueError

    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(refuse)
    around(handler)
    LOG.error("one")


def test_a_closed_stream_is_no_error(around, monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    around(logging.StreamHandler(closed))
    LOG.error("one")


@pytest.mark.parametrize("error", [gevent.GreenletExit(), KeyboardInterrupt()])
def test_what_is_not_about_the_line_goes_through(around, error):
    around(Raising(error))
    with pytest.raises(type(error)):
        LOG.error("one")


def test_a_line_names_its_caller(caplog):
    LOG.error("a %s", "b")
    try:
        raise ValueError("no")
    except ValueError:
        LOG.exception("c")
    assert [record.funcName for record in caplog.records] == ["test_a_line_names_its_caller"] * 2
    assert caplog.records[0].getMessage() == "a b"
    assert caplog.records[1].exc_info[0] is ValueError


def test_a_dict_config_of_the_program_silences_nothing(caplog):
    log = logger.get_logger("pytask.tests.there_before")
    logging.config.dictConfig({"version": 1, "incremental": False})  # disables all loggers there are
    logging.root.addHandler(caplog.handler)
    log.warning("still here")
    assert caplog.messages == ["still here"]


@pytest.mark.parametrize("hangs", [False, True])
def test_the_process_ends_though_the_log_cannot_be_flushed(monkeypatch, hangs):
    def shutdown():
        if hangs:
            gevent.sleep(1e9)
        raise RuntimeError("a handler's flush")

    codes = []
    monkeypatch.setattr(host, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr("logging.shutdown", shutdown)
    monkeypatch.setattr(os, "_exit", codes.append)
    with pytest.raises((RuntimeError, gevent.Timeout)):
        host.exit_now(70)
    assert codes == [70]


def test_a_configuration_of_the_program_does_not_silence_pytask(capsys):
    """As dictConfig is called in most programs: it disables all loggers that are there by then."""
    log = logger.get_logger("pytask.tests.configured")
    handlers, level = logging.root.handlers[:], logging.root.level
    known = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    enabled = [one for one in known if not one.disabled]
    try:
        logging.config.dictConfig(
            {
                "version": 1,
                "handlers": {"out": {"class": "logging.StreamHandler", "stream": sys.stdout}},
                "root": {"handlers": ["out"], "level": "INFO"},
            }
        )
        log.warning("still here")
        log.logger.setLevel("ERROR")
        log.warning("not wanted")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        for one in enabled:
            one.disabled = False
    assert capsys.readouterr().out == "still here\n"
