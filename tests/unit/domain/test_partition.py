"""Which partition a task belongs to, and what its keys begin with."""

from collections import Counter

import pytest

import pytask
from pytask.domain.errors import ConfigError
from pytask.domain.partition import crc16, hash_tag


def test_the_checksum_is_the_one_of_redis_cluster():
    assert crc16(b"123456789") == 0x31C3  # the check value of CRC-16/XMODEM
    assert crc16(b"foo") % 16384 == 12182  # CLUSTER KEYSLOT foo
    assert crc16(b"") == 0


@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 7, 16])
def test_ids_spread_evenly(partitions):
    counts = Counter(pytask.partition_of(f"task-{n}", partitions) for n in range(8000))
    assert set(counts) == set(range(partitions))
    assert min(counts.values()) > 0.8 * 8000 / partitions


def test_the_whole_id_counts_even_with_a_tag_in_it():
    assert len({pytask.partition_of(f"{{same}}-{n}", 16) for n in range(200)}) == 16


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("", "{2}:"),
        ("app:", "app:{2}:"),
        ("{pytask}:", "{pytask:2}:"),
        ("a{tag}b{other}:", "a{tag:2}b{other}:"),
    ],
)
def test_the_namespace_of_a_partition(namespace, expected):
    assert pytask.namespace_of(namespace, 2, 4) == expected
    assert pytask.namespace_of(namespace, 0, 1) == namespace


@pytest.mark.parametrize("namespace", ["{}:", "a{b:", "{}{tag}:"])
def test_a_namespace_whose_brace_is_no_tag_is_refused(namespace):
    with pytest.raises(ConfigError, match="hash tag"):
        pytask.namespace_of(namespace, 0, 2)


def test_a_tag_is_what_redis_takes_for_one():
    assert hash_tag("{pytask}:x") == "pytask"
    assert hash_tag("{}{tag}:x") == ""  # Redis looks at the first pair only
    assert hash_tag("no tag") == hash_tag("{open") == hash_tag("close}") == ""
