"""Settings: defaults < file < environment < flags, and each says where it came from."""

import json

import attrs
import pytest

from pytask.cli.config import OWN, Ambient, known_settings
from pytask.domain.errors import ConfigError
from pytask.runtime.settings import Settings


def rows(shown):
    assert shown.exit_code == 0, shown.stderr
    return {line.split()[0]: line for line in shown.stdout.splitlines()[1:]}


def test_the_order_and_the_origins(cli, tmp_path):
    assert "redis://127.0.0.1:6379/0  the default" in rows(cli("config"))["redis_url"]
    (tmp_path / "pytask.toml").write_text('redis_url = "redis://file/0"\nmax_tasks = 7\nmonitor = false\n')
    found = rows(cli("config"))
    assert found["redis_url"].split(maxsplit=2)[1:] == ["redis://file/0", "from pytask.toml"]
    assert found["max_tasks"].split(maxsplit=2)[1:] == ["7", "from pytask.toml"]
    assert found["monitor"].split(maxsplit=2)[1:] == ["false", "from pytask.toml"]
    found = rows(cli("config", REDIS_URL="redis://plain/0"))
    assert found["redis_url"].split(maxsplit=2)[1:] == ["redis://plain/0", "from $REDIS_URL"]
    both = {"REDIS_URL": "redis://plain/0", "PYTASK_REDIS_URL": "redis://own/0", "PYTASK_MAX_TASKS": "9"}
    found = rows(cli("config", **both))
    assert found["redis_url"].split(maxsplit=2)[1:] == ["redis://own/0", "from $PYTASK_REDIS_URL"]
    assert found["max_tasks"].split(maxsplit=2)[1:] == ["9", "from $PYTASK_MAX_TASKS"]
    found = rows(cli("config", "--redis", "redis://flag/0", **both))
    assert found["redis_url"].split(maxsplit=2)[1:] == ["redis://flag/0", "from --redis"]


def test_another_file_by_flag_or_variable(cli, tmp_path):
    (tmp_path / "pytask.toml").write_text("max_tasks = 1\n")
    (tmp_path / "other.toml").write_text("max_tasks = 2\n")
    assert "2" in rows(cli("config", "--config", "other.toml"))["max_tasks"].split()
    assert "2" in rows(cli("config", PYTASK_CONFIG="other.toml"))["max_tasks"].split()


def test_a_password_is_never_printed(cli, tmp_path):
    secret = "sesame-7391"
    (tmp_path / "pytask.toml").write_text(f'redis_url = "redis://me:{secret}@file/0"\n')
    for shown in (
        cli("config"),
        cli("config", "-o", "json"),
        cli("config", REDIS_URL=f"redis://:{secret}@host/1"),
        cli("config", "--redis", f"unix:///x.sock?password={secret}"),
        cli("show", "x", REDIS_URL=f"redis://:{secret}@127.0.0.1:1/0"),
        cli("show", "x", REDIS_URL=f"http://:{secret}@127.0.0.1:1/0"),
    ):
        assert secret not in shown.stdout + shown.stderr
        assert "***" in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_taks = 3", "did you mean 'max_tasks'?"),
        ("max_tasks = five", "cannot be read as TOML: Invalid value (at line 1, column 13)"),
        ('partitions = "2"', "must be a whole number"),
        ("partitions = true", "must be a whole number"),
        ("namespace = 5", "must be text in quotes"),
    ],
)
def test_a_broken_file_is_reported_and_the_fix_fixes_it(cli, tmp_path, text, says):
    (tmp_path / "pytask.toml").write_text(text)
    for words in (["config"], ["show", "x", "--explain"]):
        shown = cli(*words)
        assert shown.exit_code == 78
        assert "[PT028]" in shown.stderr
        assert "pytask.toml" in shown.stderr
        assert says in shown.stderr
    fixed = {"max_taks": "max_tasks = 3", "max_tasks": "max_tasks = 3", "namespace": 'namespace = "5"'}
    (tmp_path / "pytask.toml").write_text(fixed.get(text.split()[0], "partitions = 2"))
    assert cli("config").exit_code == 0


def test_a_file_that_is_not_there(cli):
    shown = cli("config", "--config", "none.toml")
    assert shown.exit_code == 78
    assert "[PT028]" in shown.stderr


def test_a_variable_of_the_wrong_kind_is_named(cli):
    shown = cli("config", PYTASK_PARTITIONS="two")
    assert shown.exit_code == 78
    assert "$PYTASK_PARTITIONS is 'two', but must be a whole number" in shown.stderr


def test_a_variable_that_sets_nothing_is_reported(cli):
    shown = cli("config", PYTASK_MAXTASKS="3")
    assert shown.exit_code == 0
    assert "$PYTASK_MAXTASKS has no effect" in shown.stderr
    assert "did you mean 'max_tasks'?" in shown.stderr


def test_every_field_of_the_settings_is_known_with_its_default_and_meaning():
    known = known_settings(more=True)
    for field in attrs.fields(Settings):
        if field.alias == "timing":
            continue
        assert field.name in known
        assert known[field.name].text, field.name
        if not isinstance(field.default, attrs.Factory):
            assert known[field.name].default == field.default


def test_words_for_true_and_false_and_none(tmp_path):
    environ = {
        "PYTASK_MONITOR": "off",
        "PYTASK_EMBEDDED": "1",
        "PYTASK_BLOCK_LIMIT": "2",
        "PYTASK_KEEP_STOPPED": "none",
    }
    ambient = Ambient(environ=environ, folder=tmp_path)
    assert ambient.get("monitor").value is False
    assert ambient.get("embedded").value is True
    assert ambient.get("block_limit").value == 2.0
    assert ambient.get("keep_stopped").value is None
    assert set(ambient.given()) == {"monitor", "embedded", "block_limit", "keep_stopped"}
    with pytest.raises(ConfigError, match="must be true or false"):
        Ambient(environ={"PYTASK_MONITOR": "maybe"}, folder=tmp_path).get("monitor")


def test_the_texts_of_our_own_settings():
    assert all(known.text for known in OWN.values())


def test_no_form_of_an_address_shows_its_password_and_a_namespace_is_no_address(cli):
    for url in ("me:sesame@h:6379", "redis://h/0?Password=sesame", "redis://:sesame", "h:sesame"):
        shown = cli("config", "--redis", url, "--namespace", "app:eu:", "-o", "json")
        values = {one["name"]: one["value"] for one in json.loads(shown.stdout)["items"]}
        assert "sesame" not in shown.stdout
        assert "***" in values["redis_url"]
        assert values["namespace"] == "app:eu:"
