"""Data on the command line: a key that is given twice is refused, as one of its values would be lost."""

import json

import pytest

from pytask.cli.data import read_data, with_pairs

VERBS = [
    ("new", "mail"),
    ("schedule", "add", "daily", "mail", "--every", "1h"),
    ("call", "mail.py", "mail"),
]
ELSEWHERE = {"PYTASK_REDIS_URL": "redis://127.0.0.1:1/0"}  # nobody listens there


@pytest.mark.parametrize("verb", VERBS)
def test_a_pair_that_is_given_twice(cli, verb):
    shown = cli(*verb, "to=ann", "n=1", "to=bob", **ELSEWHERE)
    assert shown.exit_code == 2
    assert "the key 'to' is given twice: give it once" in " ".join(shown.stderr.split())


@pytest.mark.parametrize("verb", [*VERBS, ("reload", "some-id")])
@pytest.mark.parametrize("word", ["--data", "@", "-"])
def test_an_object_with_a_key_twice(cli, tmp_path, verb, word):
    text = '{"n": 1, "api": [{"port": 80, "host": "a", "port": 81}]}'
    (tmp_path / "data.json").write_text(text)
    given = {"--data": text, "@": "@data.json", "-": "-"}[word]
    shown = cli(*verb, "--data", given, stdin=text, **ELSEWHERE)
    where = {"--data": "--data", "@": "data.json", "-": "standard input"}[word]
    assert shown.exit_code == 2
    assert "[PT030]" in shown.stderr
    assert f"{where} has the key 'port' twice in one object: give it once" in " ".join(shown.stderr.split())


@pytest.mark.parametrize("verb", VERBS)
def test_a_value_with_a_key_twice(cli, verb):
    shown = cli(*verb, 'api={"port": 80, "port": 81}', **ELSEWHERE)
    assert shown.exit_code == 2
    assert "the value of 'api' has the key 'port' twice" in " ".join(shown.stderr.split())


def test_a_saved_value_with_a_key_twice(cli):
    shown = cli("call", "mail.py", "mail", "--saved", '{"at": 1, "at": 2}')
    assert shown.exit_code == 2
    assert "--saved has the key 'at' twice" in " ".join(shown.stderr.split())


def test_a_pair_overrides_the_same_key_of_the_data():
    base = read_data('{"to": "ann", "n": 1, "api": {"n": 2}}')
    assert with_pairs(base, ["to=bob"]).value == {"to": "bob", "n": 1, "api": {"n": 2}}
    many = {str(number): number for number in range(50_000)}
    assert read_data(json.dumps(many)).value == many
