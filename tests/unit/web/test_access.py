"""Who may do what: password files, proxies, logins."""

import pytest

from pytask.domain.errors import BadPasswordFile, ConfigError, OpenToTheWorld
from pytask.web import access
from pytask.web.access import ALL, Passwords, Proxy, Right, User, hashed, rights_of, verified, with_user
from pytask.web.server import check_open, known_hosts
from pytask.web.sessions import FORGOTTEN, IDLE, Sessions, Throttle


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(access, "COST", 16)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "users"
    with_user(path, "ann", rights_of("view,act"), "correct horse")
    return path


def test_a_password_is_kept_as_a_salted_hash():
    first, second = hashed("correct horse"), hashed("correct horse")
    assert first != second
    assert "correct" not in first
    assert verified("correct horse", first)
    assert not verified("Correct horse", first)
    assert not verified("x" * 2000, first)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "plain",
        "scrypt:16:8:1:AA==",
        "scrypt:15:8:1:AA==:AA==",
        "scrypt:99999999:8:1:AA==:AA==",
        "md5:1:1:1:a:b",
    ],
)
def test_a_secret_that_makes_no_sense_lets_nobody_in(secret):
    assert not verified("", secret)


def test_a_file_is_made_for_its_owner_only_and_users_are_added_and_changed(file):
    assert file.stat().st_mode & 0o777 == 0o600
    with_user(file, "ben", rights_of("view"), "second password")
    with_user(file, "ann", rights_of("view"), "third password")
    users = Passwords(file)
    assert users.check("ann", "third password").user == User("ann", frozenset({Right.VIEW}))
    assert users.check("ben", "second password")
    assert users.check("ann", "correct horse") is None
    assert users.check("nobody", "correct horse") is None
    assert [*file.parent.iterdir()] == [file]


def test_a_changed_file_counts_at_once(file):
    users = Passwords(file)
    with_user(file, "ann", rights_of("view,payloads"), "another password")
    assert users.check("ann", "another password").user.may(Right.PAYLOADS)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no users"),
        ("ann\n", "line 1"),
        ("# a comment\n\nann:view:plain\n", "line 3"),
        (f"ann:fly:{'scrypt:16:8:1:AA==:' + 'A' * 43 + '='}\n", "rights are some of view, act, payloads"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(tmp_path, text, what):
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(BadPasswordFile, match=what):
        Passwords(path)


def test_a_file_that_others_may_write_to_or_that_is_not_there(file):
    file.chmod(0o666)
    with pytest.raises(BadPasswordFile, match="chmod go-w"):
        Passwords(file)
    with pytest.raises(BadPasswordFile, match="cannot read"):
        Passwords(file.with_name("other"))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 49, "-x", "\u202ex", "a\n"])
def test_a_name_is_one_word_of_the_history(tmp_path, name):
    with pytest.raises(ConfigError, match="letters, digits"):
        with_user(tmp_path / "users", name, ALL, "long enough")


def test_a_short_password(tmp_path):
    with pytest.raises(ConfigError, match="8 to 1024"):
        with_user(tmp_path / "users", "ann", ALL, "short")


def test_a_header_is_believed_from_the_proxy_only():
    proxy = Proxy("X-User", rights_of("view"), ("10.0.0.0/24",))
    assert proxy.user("10.0.0.7", "ann") == User("ann", frozenset({Right.VIEW}))
    assert proxy.user("10.0.1.7", "ann") is None
    assert proxy.user("", "ann") is None
    assert proxy.user("10.0.0.7", None) is None
    assert proxy.user("10.0.0.7", "ann ben") is None
    for wrong in ({"header": "X User"}, {"header": "X-User", "peers": ("nowhere",)}):
        with pytest.raises(ConfigError):
            Proxy(**wrong)


def test_only_loopback_is_open_without_a_login(file):
    for host in ("127.0.0.1", "::1", "localhost", "127.8.0.1"):
        check_open(host, None)
    for host in ("0.0.0.0", "::", "192.0.2.1", "tasks.example.com"):
        with pytest.raises(OpenToTheWorld, match="--auth FILE"):
            check_open(host, None)
        check_open(host, Passwords(file))
    assert "127.0.0.1" in known_hosts("localhost", (), None)
    assert known_hosts("0.0.0.0", (), Passwords(file)) == ()
    assert known_hosts("0.0.0.0", ("Tasks.example.com",), Passwords(file))[0] == "tasks.example.com"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_login_ends_when_it_is_idle_closed_or_its_user_changes(file):
    clock, users = Clock(), Passwords(file)
    sessions = Sessions(users, clock)
    token, other, third = (sessions.open("ann", users.entry("ann").mark) for _ in range(3))
    assert sessions.user(token).name == "ann"
    assert sessions.user("something else") is None
    assert sessions.user(None) is None
    sessions.close(other)
    assert sessions.user(other) is None
    clock.now += IDLE - 1
    assert sessions.user(token)
    clock.now += 2
    assert sessions.user(third) is None
    assert sessions.user(token)
    with_user(file, "ann", ALL, "a new password")
    assert sessions.user(token) is None


def test_who_guesses_waits_longer_each_time():
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(4):
        throttle.failed("ann", "peer")
        assert throttle.wait("ann", "peer") == 0
    throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 1
    assert throttle.wait("ann", "other peer") == 0  # nobody keeps her out from elsewhere
    assert throttle.wait("ben", "peer") == 0
    clock.now += 1
    throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 2
    for _ in range(10):
        throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 60
    throttle.passed("ann", "peer")
    assert throttle.wait("ann", "peer") == 0


def test_who_guesses_for_days_still_waits_and_old_failures_are_forgotten():
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(3000):
        throttle.failed("ann", "peer")
        clock.now += throttle.wait("ann", "peer")
    assert throttle.wait("ann", "peer") == 0
    throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 60
    clock.now += 60 + FORGOTTEN
    for _ in range(4):
        throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 0


def test_who_tries_many_names_from_one_address_waits_for_all_of_them():
    throttle = Throttle(Clock())
    for number in range(20):
        assert throttle.wait("ann", "peer") == 0
        throttle.failed(f"name {number}", "peer")
    assert throttle.wait("ann", "peer") == 1
    throttle.failed("ben", "peer")
    throttle.passed("ben", "peer")  # one's own login does not make the address good
    assert throttle.wait("ann", "peer") == 2
    assert throttle.wait("ann", "other peer") == 0


def test_failures_of_all_addresses_together_have_a_rate():
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(60):
        assert throttle.wait("ann", "peer") == 0
        throttle.failed("ann", f"peer {number}")
        clock.now += 0.5
    assert throttle.wait("ben", "peer") == 30
    clock.now += 30
    assert throttle.wait("ben", "peer") == 0
    throttle.failed("ben", "peer 7")
    assert throttle.wait("ben", "peer") == 0.5


def test_who_has_logged_in_from_an_address_waits_for_own_failures_only():
    throttle = Throttle(Clock())
    throttle.passed("ann", "peer")
    for number in range(100):
        throttle.failed(f"name {number}", "peer" if number < 30 else f"peer {number}")
    assert throttle.wait("ann", "peer") == 0
    assert throttle.wait("ben", "peer") == throttle.wait("ann", "elsewhere") == 60
    for _ in range(5):
        throttle.failed("ann", "peer")
    assert throttle.wait("ann", "peer") == 1


def test_the_same_password_again_is_no_guess():
    throttle = Throttle(Clock())
    for _ in range(100):
        throttle.failed("scraper", "peer", again=True)
    assert throttle.wait("scraper", "peer") == 60
    assert throttle.wait("ann", "peer") == 0


def test_of_ipv6_the_first_half_is_an_address():
    throttle = Throttle(Clock())
    for number in range(5):
        throttle.failed("ann", f"2001:db8::{number}")
    assert throttle.wait("ann", "2001:db8::ffff") == 1
    assert throttle.wait("ann", "2001:db8:0:1::") == 0
