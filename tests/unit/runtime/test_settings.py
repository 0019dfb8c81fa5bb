"""Each setting, and what it says to a wrong value."""

import typing

import attrs
import pytest

from pytask.domain.errors import ConfigError
from pytask.domain.timing import Timing
from pytask.runtime.settings import Settings, SettingsGiven, settings_of


def test_the_defaults():
    settings = Settings()
    assert (settings.max_tasks, settings.max_data, settings.max_pending) == (10_000, 16 * 2**20, 10_000)
    assert (settings.keep_ended, settings.keep_error, settings.keep_stopped) == (604_800, 2_592_000, None)
    assert settings.name
    assert settings.timing == Timing()


@pytest.mark.parametrize(
    "field", ["max_tasks", "redis_connections", "max_data", "max_pending", "max_pending_bytes", "partitions"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "5", None, True])
def test_counts(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be a whole number of 1 or more, not {value!r}"):
        settings_of({field: value})


@pytest.mark.parametrize("field", ["keep_ended", "keep_error", "keep_stopped"])
@pytest.mark.parametrize("value", [-1, 1.5, "5", False])
def test_retentions(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be whole seconds"):
        settings_of({field: value})


@pytest.mark.parametrize("value", [0, 1, None])
def test_retentions_that_are_fine(value):
    assert settings_of({"keep_ended": value}).keep_ended == value


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"namespace": 5}, "namespace"),
        ({"name": ""}, "name"),
        ({"timing": 60}, "timing"),
        ({"when_full": "block"}, "when_full"),
    ],
)
def test_types(values, says):
    with pytest.raises(ConfigError, match=says):
        settings_of(values)


def test_an_unknown_setting_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"no such setting: maxtasks; settings: .*max_tasks"):
        settings_of({"maxtasks": 5})


def test_the_keyword_arguments_for_type_checkers_are_the_fields():
    fields = {field.alias: field.name for field in attrs.fields(Settings)}
    assert SettingsGiven.__annotations__.keys() == fields.keys()
    hints = typing.get_type_hints(SettingsGiven)
    own = typing.get_type_hints(Settings)
    assert hints == {argument: own[name] for argument, name in fields.items()}
