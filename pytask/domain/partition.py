"""The partition of a task and the prefix of its keys, as producers and workers compute them."""

from __future__ import annotations

from pytask.domain.errors import ConfigError

SLOTS = 16384
CRC16_POLYNOMIAL = 0x1021  # XMODEM, as Redis Cluster uses it for its slots


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (CRC16_POLYNOMIAL if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM: `crc16(b"123456789") == 0x31C3`."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC[(crc >> 8) ^ byte]
    return crc


def hash_tag(name: str) -> str:
    """The part of a key that a cluster hashes: between the first { and the next }; "" if there is none."""
    _, opened, rest = name.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed else ""


def partition_of(task_id: str, partitions: int) -> int:
    """The partition of a task: the one whose queue its id is pushed to.

    Args:
        task_id: The id; all its bytes count, in UTF-8.
        partitions: How many partitions the deployment has.

    Returns:
        A number from 0 to `partitions` - 1: the CRC16 of the id, modulo `partitions`.
    """
    return crc16(task_id.encode()) % partitions


def namespace_of(namespace: str, partition: int, partitions: int) -> str:
    """The prefix of the keys of a partition.

    Args:
        namespace: The namespace of the deployment, such as "{pytask}:" or "app:".
        partition: The partition, from 0.
        partitions: How many partitions the deployment has.

    Returns:
        "{pytask:2}:" for partition 2 of "{pytask}:", and "app:{2}:" for that of "app:".  With one partition,
        the namespace as it is.

    Raises:
        ConfigError: A namespace with a brace that does not form a hash tag.
    """
    if partitions == 1:
        return namespace
    tag = hash_tag(namespace)
    if not tag:
        if "{" in namespace:
            raise ConfigError(
                f"namespace {namespace!r} has a brace without a hash tag: a cluster would not keep the keys"
                " of a partition together; write it like '{pytask}:'"
            )
        return f"{namespace}{{{partition}}}:"
    return namespace.replace(f"{{{tag}}}", f"{{{tag}:{partition}}}", 1)
