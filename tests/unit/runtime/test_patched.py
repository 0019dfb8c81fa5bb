"""What `--patch` says."""

import pytest

from pytask.domain.errors import BadPatch
from pytask.runtime.process import patched


def test_names_and_words_of_a_patch():
    assert patched.read("") == {}
    assert patched.read("Event=on, queue=off,sys=True") == {"Event": True, "queue": False, "sys": True}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Evnt=off", "Event, builtins"),
        ("Event", "NAME=on"),
        ("kwargs=on", "NAME=on"),
        ("socket=off", "blocks"),
    ],
)
def test_a_patch_that_cannot_be(text, says):
    with pytest.raises(BadPatch, match=rf"PT011.*{text}.*{says}"):
        patched.read(text)
