"""Limits, groups and rates: the pure rules."""

import json

import pytest

from pytask import Task, errors
from pytask.domain.delays import fault_of
from pytask.domain.limits import (
    LARGEST_READ,
    Kind,
    Rule,
    check_group,
    fits_at,
    group_fault,
    group_in,
    read_entry,
    read_limit,
    started,
)
from pytask.domain.record import StartFields
from pytask.domain.task_config import check_config, limits_of


def configured(**options):
    return type("Job", (Task,), {"Config": type("Config", (), {"NAME": "job", **options})})


@pytest.mark.parametrize(
    ("text", "limit"),
    [("5", 5), (b"0", 0), ("0012", 12), ("9999999999", 9999999999), (None, None), ("", None), ("-1", None)]
    + [(word, None) for word in ("1.0", " 1", "1e3", "٣", "12345678901", "many", b"\xff")],
)
def test_a_limit_is_a_whole_number_and_nothing_else_is_one(text, limit):
    assert read_limit(text) == limit


def test_an_entry_names_a_kind():
    assert read_entry("group:a:b") == (Kind.GROUP, "a:b")
    assert read_entry("function:f") == (Kind.FUNCTION, "f")
    assert [read_entry(word) for word in ("group:", "what:a", "group", "")] == [None] * 4


def test_a_group_is_text_of_at_most_256_bytes():
    assert check_group("ü" * 128) == "ü" * 128
    assert "258 bytes" in group_fault("ü" * 129)
    assert "UTF-8" in group_fault(b"\xff")
    for wrong in ("", None, 5, "x" * 257, "\udcff"):
        with pytest.raises(errors.BadData, match="group"):
            check_group(wrong)


def test_the_group_of_data_is_a_text_or_a_whole_number():
    for value, group in {"a": b"a", 5: b"5", -3: b"-3"}.items():
        assert group_in(json.dumps({"a": {"b": value}}).encode(), ("a", "b")) == group
    assert group_in(b'{"a": 2.0}', ("a",)) == b"2"
    assert [group_in(raw, ("a",)) for raw in (None, b"", b"{", b"[]", b'{"a":null}')] == [b""] * 5
    assert [group_in(b'{"a":%b}' % raw, ("a",)) for raw in (b"1.5", b"true", b"{}", b"1e20")] == [None] * 4
    assert group_in(b" " * (LARGEST_READ + 1), ("a",)) is None


@pytest.mark.parametrize("fault", ["long 300", "bytes", "data", "large", "of a newer release"])
def test_a_group_that_cannot_be_used_is_a_fault_with_its_fix(fault):
    text = fault_of(StartFields(group_fault=fault))
    assert text.endswith("HSET <task_id> group <text>, and start the task again")


def test_a_class_declares_its_limits():
    found = limits_of(configured(LIMIT=3, GROUP_LIMIT=1, RATE=(5, 10), GROUP="api.tenant"))
    assert found == Rule(limit=3, group_limit=1, rate=(5, 10.0), path=("api", "tenant"))
    assert limits_of(configured()) == Rule()
    assert Rule().words() == ""


@pytest.mark.parametrize(
    "options",
    [{"LIMIT": wrong} for wrong in (0, -1, 1.5, "1", True, 10**10)]
    + [{"GROUP_LIMIT": 0}, {"GROUP": ""}, {"GROUP": "a..b"}, {"GROUP": 5}, {"GROUP": ("a",)}]
    + [{"RATE": wrong} for wrong in (5, (5,), (0, 1), (1, 0), (1, "1"), (True, 1), (10**6, 1), (1, 1e12))],
)
def test_a_limit_that_makes_no_sense_is_refused_with_its_fix(options):
    (name,) = options
    with pytest.raises(errors.BadTaskClass, match=f"Config.{name} of Job must"):
        check_config(configured(**options))


def test_a_misspelled_option_is_refused():
    with pytest.raises(errors.BadTaskClass, match="did you mean GROUP_LIMIT"):
        check_config(configured(GROUP_LIMITS=1))


@pytest.mark.parametrize("rate", [(1, 1.0), (3, 10.0), (100, 60.0), (7, 0.5)])
def test_a_rate_lets_all_of_one_period_start_at_once_and_never_more_than_twice_as_many(rate):
    rule, arrival, starts = Rule(rate=rate), 0, []
    count, seconds = rate
    for now in range(10**9, 10**9 + round(20 * seconds * 1e6), max(1, rule.interval // 7)):
        while fits_at(arrival, rule) <= now:
            arrival = started(arrival, now, rule)
            starts.append(now)
    assert starts.count(10**9) == count
    span = seconds * 1e6
    for first in starts:
        assert sum(first <= at < first + span - rule.interval for at in starts) <= 2 * count - 1
    assert len(starts) <= count + 20 * count
