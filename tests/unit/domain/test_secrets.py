"""Secret fields: masked in data, and hidden in texts."""

import pytest

from pytask import Task
from pytask.domain.errors import BadTaskClass
from pytask.domain.secrets import MASK, hide, masked, values_in
from pytask.domain.task_class import check_class
from pytask.domain.task_config import secret_fields

DATA = {
    "user": "ada",
    "password": "top-secret",
    "api": {"token": "t0ken", "url": "https://example.com"},
    "hosts": [{"name": "a", "password": "other-secret"}, {"api": {"token": "left"}}],
    "none": None,
}


def test_a_name_is_masked_at_any_depth_and_a_path_only_there():
    assert masked(DATA, ("password", "api.token")) == {
        "user": "ada",
        "password": MASK,
        "api": {"token": MASK, "url": "https://example.com"},
        "hosts": [{"name": "a", "password": MASK}, {"api": {"token": "left"}}],
        "none": None,
    }


def test_a_path_leads_through_the_items_of_lists():
    assert masked(DATA, ("hosts.password",))["hosts"][0] == {"name": "a", "password": MASK}
    assert masked(DATA, ("hosts.password",))["password"] == "top-secret"


def test_a_whole_object_may_be_secret_and_what_is_not_set_says_so():
    assert masked(DATA, ("api", "none")) == DATA | {
        "api": MASK,
        "hosts": [{"name": "a", "password": "other-secret"}, {"api": MASK}],
    }


@pytest.mark.parametrize("value", [None, 1, "text", [1, 2]])
def test_without_objects_nothing_is_masked(value):
    assert masked(value, ("password",)) == value


def test_the_values_are_hidden_in_every_form_that_a_text_may_have():
    data = {"password": 'a"b\\c\n\u00e9', "pin": 123456, "on": True, "short": "abc", "more": {"x": ["deep!"]}}
    values = values_in(data, ("password", "pin", "on", "short", "more"))
    text = f"{data!r} {data['password']} " + __import__("json").dumps(data)
    shown = hide(text, values)
    for part in ('a"b', 'a\\"b', "123456", "deep!", "\u00e9", "u00e9"):
        assert part not in shown
    assert "abc" in shown  # too short to be told from other words


def test_a_key_of_several_lines_is_hidden_line_by_line_as_well():
    values = values_in({"pem": "-----BEGIN-----\nMIIEvQ\n-----END-----\n"}, ("pem",))
    assert "MIIEvQ" not in hide("| -----BEGIN-----\n| MIIEvQ\n| -----END-----", values)


def test_a_password_is_hidden_as_an_address_has_it():
    values = values_in({"password": "p@ss/wo rd:\u00e9"}, ("password",))
    for form in ("p%40ss%2Fwo%20rd%3A%C3%A9", "p%40ss/wo%20rd%3A%C3%A9", "p%40ss%2Fwo+rd%3A%C3%A9"):
        assert hide(f"http://u:{form}@h", values) == "http://u:********@h"


def test_what_names_no_fields_is_refused():
    for wrong in (5, ("a", 3), "", ("a..b",), {"a": "b"}):
        config = type("Config", (), {"NAME": "x", "SECRET": wrong})
        kind = type("Odd", (Task,), {"Config": config, "start": lambda _self: None})
        with pytest.raises(BadTaskClass, match=r"Config\.SECRET of Odd must name fields"):
            check_class(kind)
    assert secret_fields(type("T", (), {"Config": type("C", (), {"SECRET": "password"})})) == ("password",)
