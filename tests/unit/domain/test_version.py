"""Which releases share a Redis."""

import pytest

from pytask.domain.version import __version__, may_share


@pytest.mark.parametrize("other", ["1.0.0", "1.9.2", "1", "1rc1", "", "?", "v2", "-3.0", "9" * 5000])
def test_the_same_major_version_or_none_at_all(other):
    assert may_share("1.4.0", other)


@pytest.mark.parametrize("other", ["0.9.0", "2.0.0", "10.0", "2"])
def test_another_major_version(other):
    assert not may_share("1.4.0", other)


@pytest.mark.parametrize("other", ["0.1.0", "0.1.9", "0.1rc1", "0.1", "0", "0." + "9" * 5000])
def test_below_1_0_the_same_minor_version_or_none(other):
    assert may_share("0.1.0", other)


@pytest.mark.parametrize("other", ["0.2.0", "0.10.0", "0.0.1", "1.1.0"])
def test_below_1_0_another_minor_version(other):
    assert not may_share("0.1.0", other)


def test_this_release_tells_its_own():
    assert not may_share(__version__, "999.0")
