"""JSON in and out."""

import attrs
import pytest

from pytask import Task, codec
from pytask.client.enqueue import payload
from pytask.domain.errors import BadData
from pytask.domain.messages import Event


@attrs.define
class Line:
    sku: str
    count: int = 1


@attrs.define
class Order:
    lines: list[Line]
    note: str | None = None


def test_an_event_on_the_wire():
    assert codec.event("step", {"n": 1}) == b'{"event":"step","data":{"n":1}}'
    assert codec.event(Event.STOPPED) == b'{"event":"stopped","data":null}'


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, "\udcff"])
def test_what_is_not_json_is_named(value):
    with pytest.raises(BadData, match="the thing is not JSON: "):
        codec.encode(value, "the thing")


@pytest.mark.parametrize("raw", [None, b"", b"null"])
def test_no_data(raw):
    assert codec.decode_data(raw, None) is None


def test_an_object():
    assert codec.decode_data(b'{"a": [1]}', None) == {"a": [1]}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"true", "a boolean"),
        (b"1", "a number"),
        (b"1.5", "a number"),
    ],
)
def test_anything_but_an_object_is_refused(raw, kind):
    with pytest.raises(BadData, match=f"data must be a JSON object .*, not {kind}"):
        codec.decode_data(raw, None)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'{"a":}', r"\(byte 5\)"),
        (b"\xff", r"\(byte 0\)"),
        (b"{} x", r"\(byte 4\)"),
        (b"{'a'", r"\(byte 1\)"),
    ],
)
def test_broken_json_points_at_the_byte(raw, where):
    with pytest.raises(BadData, match=f"data is not JSON: .*{where}; it begins with"):
        codec.decode_data(raw, None)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000, b'"\xff"', b"nul", b"{"])
def test_no_input_gets_past_as_another_error(raw):
    with pytest.raises(BadData, match="data is not JSON") as info:
        codec.decode_data(raw, None)
    assert len(str(info.value)) < 300


def test_data_in_its_class():
    assert codec.decode_data(b'{"lines": [{"sku": "x", "count": 2}]}', Order) == Order([Line("x", 2)])


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'{"lines": [{"sku": "x"}, {"sku": 3}]}', r"\$\.lines\[1\]\.sku"),
        (b'{"lines": [{"count": 3}]}', r"\$\.lines\[0\]"),
        (b'{"lines": 3}', r"\$\.lines"),
        (b"{}", "lines"),
        (None, "lines"),
    ],
)
def test_data_that_does_not_fit_points_at_the_path(raw, where):
    with pytest.raises(BadData, match=f"data does not fit Order: .*{where}"):
        codec.decode_data(raw, Order)


class Login(Task):
    class Config:
        NAME = "login"
        DATA = attrs.make_class("Data", {"pin": attrs.field(type=str, validator=attrs.validators.max_len(5))})
        SECRET = "pin"

    def start(self):
        pass


def test_the_client_hides_the_values_of_secret_fields_in_its_errors():
    with pytest.raises(BadData, match="data does not fit") as refused:
        payload(Login, {"pin": "123456789"}, 1000)
    assert "123456789" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_what_is_no_json_is_not_quoted_where_fields_are_secret():
    with pytest.raises(BadData, match="not JSON") as refused:
        codec.decode_data(b'{"pin": "1234567', None, quote=False)
    assert "1234567" not in str(refused.value)
    assert codec.secrets_in(b'{"pin": "1234567', ("pin",)) == ()
