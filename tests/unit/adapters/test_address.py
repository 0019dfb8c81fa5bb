"""Addresses as they are printed: never a password, however it was written."""

import pytest

from pytask.adapters.redis.address import hide_password, redis_cli, without_login

S = "sesame"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://[::1]:6379/0?protocol=3", "redis://[::1]:6379/0?protocol=3"),
        ("redis+cluster://a:7000,b:7001", "redis+cluster://a:7000,b:7001"),
        ("unix:///run/a:b/redis.sock?db=2", "unix:///run/a:b/redis.sock?db=2"),
        (f"redis://u:{S}@h:1/0", "redis://***@h:1/0"),
        (f"redis://u:{S}@x@h:1/0", "redis://***@h:1/0"),
        (f"redis://:{S}/?#x@h", "redis://***@h"),
        (f"unix://u:{S}@/run/s?db=1", "unix://***@/run/s?db=1"),
        (f"u:{S}@h:6379/0", "***@h:6379/0"),  # no scheme
        (f"//u:{S}@h", "***@h"),
        (f"redis:/u:{S}@h", "***@h"),
        (f"redis://:{S}", "redis://:***"),  # no @
        (f"h:{S}", "h:***"),
        (f"redis://h/0?password={S}", "redis://h/0?password=***"),
        (f"redis://h/0?db=1&Password={S}&ssl_password={S}", "redis://h/0?db=1&Password=***&ssl_password=***"),
        (f"redis://h/0?pass%77ord={S}&{S}", "redis://h/0?pass%77ord=***&***"),
        (f"h?password={S};PASSWD={S}", "h?password=***&PASSWD=***"),
    ],
)
def test_no_password_is_shown(url, shown):
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://127.0.0.1:6379/0", ""),
        ("redis://127.0.0.1:6380/0", "-h 127.0.0.1 -p 6380 -n 0"),
        (f"redis://:{S}@db1/3", "-h db1 -p 6379 -n 3"),
        (f"redis://me:{S}@db1:7?db=4&password={S}", "-h db1 -p 7 -n 4 --user me"),
        (f"unix://:{S}@/run/redis.sock?db=2", "-s /run/redis.sock -n 2"),
        ("rediss://h:1/0?ssl_ca_certs=/etc/ca.pem", "-h h -p 1 -n 0 --tls --cacert /etc/ca.pem"),
        ("redis+cluster://h:7000", "-c -h h -p 7000"),
    ],
)
def test_redis_cli_goes_to_the_same_server(url, words):
    assert redis_cli(url) == ["redis-cli", *words.split()]
    assert S not in " ".join(redis_cli(url))


def test_an_address_in_a_command_has_no_login():
    url = f"rediss://me:{S}@h:1/2?db=3&PASSWORD={S}&ssl_ca_certs=/x"
    assert without_login(url) == "rediss://h:1/2?db=3&ssl_ca_certs=/x"
    assert S not in without_login(f"me:{S}@h")
    assert without_login(f"unix://:{S}@/run/s?db=1") == "unix:///run/s?db=1"
