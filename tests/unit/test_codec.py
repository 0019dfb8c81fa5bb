"""JSON in and out."""

import enum

import attrs
import pytest

from pytask import Task, codec
from pytask.client.enqueue import payload
from pytask.domain.errors import BadData, BadSaved
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


class Kind(enum.Enum):
    A = "a"


WORD = "sesame"
AROUND = ["", "'", '"', "'\"", "\\", "\\'", "\n", "é", " ...", "; it begins with b'", "x" * 70]


@pytest.mark.parametrize("after", AROUND)
@pytest.mark.parametrize("before", [one for one in AROUND if len(one) < 10])
def test_an_error_can_be_shown_without_what_it_quotes(before, after):
    text = f"{before}{WORD}{after}"
    faults = []
    for read in (lambda raw: codec.decode_data(raw, None), codec.decode_saved):
        with pytest.raises((BadData, BadSaved)) as refused:
            read(f"{{{text}".encode())
        faults.append(str(refused.value))
    with pytest.raises(BadData) as refused:
        codec.decode_data(codec.encode({"a": text}, "it"), dict[str, Kind])
    faults.append(str(refused.value))
    for fault in faults:
        assert WORD in fault
        for shown in (fault, f"[PT030] {fault}\nTraceback:\n  {fault}\n"):
            assert WORD not in codec.without_quotes(shown)
        # A long text is cut, anywhere.
        for end in range(len(fault)):
            assert WORD not in codec.without_quotes(fault[:end])
            assert WORD not in codec.without_quotes(f"{fault[:end]} ...\nnext line")
    rest = [codec.without_quotes(fault) for fault in faults]
    assert rest[0].startswith("[PT030] data is not JSON: ")
    assert rest[0].endswith("; it begins with (not shown)")
    assert rest[1].endswith(f"; it begins with (not shown). {codec.SAVED_FIX}")
    assert "Invalid enum value (not shown) - at `$" in rest[2]


def test_other_texts_are_shown_as_they_are():
    for text in ("", "KeyError: 'a'", "it begins with b'x'", "Expected `str`, got `int` - at `$.a`\n  'b"):
        assert codec.without_quotes(text) == text
