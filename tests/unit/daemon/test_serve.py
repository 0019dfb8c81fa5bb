"""What `pytask run` connects to, and what it says of where that came from."""

from contextlib import ExitStack

import pytest

from pytask.daemon.flags import Flags
from pytask.daemon.serve import _source


@pytest.mark.parametrize(
    ("private", "origin"), [(None, "from --redis"), (True, "the embedded server of the supervisor")]
)
def test_where_an_address_that_was_given_came_from(private, origin):
    chosen = _source(None, Flags(redis="redis://127.0.0.1/0", private=private), ExitStack())
    assert (chosen.value, chosen.origin, chosen.private) == ("redis://127.0.0.1/0", origin, bool(private))
