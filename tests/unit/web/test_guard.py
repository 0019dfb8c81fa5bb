"""What every request passes: origin, host, rights, headers."""

import base64

import pytest

from pytask import codec, web
from pytask.domain import history
from pytask.domain.errors import BadData, InsideWorker
from pytask.runtime.process import fork
from pytask.web import access
from pytask.web.access import Passwords, Proxy, rights_of, with_user
from pytask.web.site import local_path

PATHS = (
    "/",
    "/tasks",
    "/task?id=a",
    "/workers",
    "/schedules",
    "/limits",
    "/functions",
    "/rejected",
    "/findings",
)
WRITES = ("/tasks/choose", "/tasks/act", "/task?id=a", "/schedule?name=s", "/limits", "/functions")


@pytest.fixture
def users(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "COST", 16)
    path = tmp_path / "users"
    with_user(path, "ann", rights_of("view,act,payloads"), "password of ann")
    with_user(path, "ben", rights_of("view"), "password of ben")
    return Passwords(path)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
)
def test_a_form_of_another_site_changes_nothing(page, client, headers):
    client.start("f", id="a")
    for path in WRITES:
        assert page().post(path, {"verb": "stop"}, headers).status_code == 403
    assert client.get("a").state == "WAIT"


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}])
def test_a_form_of_the_page_itself(page, client, headers):
    client.start("f", id="a")
    assert page().post("/task?id=a", {"verb": "stop"}, headers).status_code == 303
    assert client.get("a").state == "STOPPED"


def test_no_action_by_a_link_or_another_method(page, client):
    client.start("f", id="a")
    site = page()
    for path in ("/tasks/choose?verb=stop&task=a", "/tasks/act", "/logout"):
        assert site.get(path).status_code in (404, 405)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert site._asked(method, "/task?id=a", {}).status_code == 405
    assert client.get("a").state == "WAIT"


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/static/page.css"])
def test_every_answer_has_its_headers(page, client, path):
    client.start("f", id="a")
    found = page().get(path).headers
    policy = found["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert found["x-content-type-options"] == "nosniff"
    assert ("no-store" in found["cache-control"]) is not path.startswith("/static")


def test_a_host_name_that_is_not_ours(page):
    site = page(hosts=("localhost", "127.0.0.1"))
    assert site.get("/").status_code == 200
    refused = site.get("/", Host="evil.example")
    assert refused.status_code == 421
    assert "--host-name" in refused.text


def test_read_only_refuses_on_the_server(page, client):
    client.start("f", id="a")
    site = page(read_only=True)
    for path in WRITES:
        answer = site.post(path, {"verb": "stop"})
        assert answer.status_code == 403
        assert "--read-only" in answer.text
    assert client.get("a").state == "WAIT"
    assert '<button name="verb"' not in site.get("/task?id=a").text + site.get("/tasks").text


def test_nobody_sees_anything_before_the_login(page, client, users):
    client.start("f", id="a")
    site = page(access=users)
    for path in PATHS:
        assert site.get(path).headers["location"] == "/login"
    for path in WRITES:
        assert site.post(path, {"verb": "stop"}).status_code == 401
    assert site.get("/live?topics=tasks").status_code == 401
    assert site.get("/login").status_code == 200


def test_a_login_its_cookie_and_its_end(page, users):
    site = page(access=users)
    answer = site.post("/login", {"name": "ann", "password": "password of ann"})
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "ann" in site.get("/").text
    token = dict(site.cookies)
    site.post("/logout")
    site.cookies = token
    assert site.get("/").status_code == 303
    secure = {"Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"}
    answer = site.post("/login", {"name": "ann", "password": "password of ann"}, secure)
    assert "Secure" in answer.headers["set-cookie"]


def test_guesses_are_slowed_down(page, users):
    site = page(access=users)
    for _ in range(5):
        assert site.post("/login", {"name": "ann", "password": "guess"}).status_code == 401
    answer = site.post("/login", {"name": "ann", "password": "password of ann"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_who_may_look_but_not_act_nor_see_data(page, client, users):
    client.start("f", {"secret": "sesame"}, id="a")
    site = page(access=users)
    site.post("/login", {"name": "ben", "password": "password of ben"})
    found = site.get("/task?id=a")
    assert found.status_code == 200
    assert "sesame" not in found.text
    assert '<button name="verb"' not in found.text
    for path in ("/raw?id=a&field=data", "/task?id=a&part=payloads", "/task?id=a&part=editor"):
        assert "sesame" not in site.get(path).text
    for path in WRITES:
        assert site.post(path, {"verb": "stop"}).status_code == 403
    assert client.get("a").state == "WAIT"


def test_actions_have_the_name_of_their_user(page, client, users):
    client.start("f", id="a")
    site = page(access=users)
    site.post("/login", {"name": "ann", "password": "password of ann"})
    site.post("/task?id=a", {"verb": "stop"})
    assert client.get("a").history[-1].who == "ann@web"
    client.start("f", id="b")
    page().post("/task?id=b", {"verb": "stop"})
    assert client.get("b").history[-1].who == "ann@desk"


def test_a_scraper_sends_its_password_each_time(page, users, monkeypatch):
    def metrics(_environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"figures"]

    site = page(access=users, metrics=metrics)
    refused = site.get("/metrics")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    right = "Basic " + base64.b64encode(b"ben:password of ben").decode()
    assert site.get("/metrics", Authorization=right).text == "figures"
    assert site.get("/", Authorization=right).status_code == 303
    with monkeypatch.context() as patch:
        patch.setattr(users, "check", lambda *_: pytest.fail("checked again"))
        assert site.get("/metrics", Authorization=right).text == "figures"
    for wrong in ("Basic !", "Basic " + base64.b64encode(b"ben:guess").decode(), "Bearer x"):
        assert site.get("/metrics", Authorization=wrong).status_code == 401


def test_a_scraper_with_an_old_password_keeps_nobody_else_out(page, users, caplog):
    site = page(access=users, metrics=lambda _environ, _start: [])
    old = "Basic " + base64.b64encode(b"ben:password of old").decode()
    for _ in range(30):
        assert site.get("/metrics", Authorization=old).status_code == 401
        site.site.throttle._failed.get(("127.0.0.1", "ben")).until = 0  # the wait is over
    assert "refused a scrape as ben, from 127.0.0.1" in caplog.text
    assert site.post("/login", {"name": "ann", "password": "password of ann"}).status_code == 303


def test_users_of_a_proxy(page, client):
    client.start("f", id="a")
    site = page(access=Proxy("X-User", rights_of("view"), ("127.0.0.1",)))
    assert site.get("/").status_code == 401
    assert site.get("/", **{"X-User": "ann"}).status_code == 200
    assert page(access=Proxy("X-User", peers=("10.0.0.1",))).get("/", **{"X-User": "ann"}).status_code == 401
    refused = site.post("/task?id=a", {"verb": "stop"}, {"Sec-Fetch-Site": "same-origin", "X-User": "ann"})
    assert refused.status_code == 403
    assert site.get("/login", **{"X-User": "ann"}).status_code == 404


def test_who_may_not_see_data_sees_no_error_that_quotes_it(page, redis):
    with pytest.raises(BadData) as refused:
        codec.decode_data(b"{begun-word", None)
    why = str(refused.value)
    moves = history.added(b"", 1000, history.tail("RUNNING", "ERROR", "fail", "yew", why), 5)
    redis.hset("a", mapping={"function": "f", "state": "ERROR", "error": why, "history": moves})
    for rights, sees in (("view", False), ("view,payloads", True)):
        site = page(access=Proxy("X-User", rights_of(rights), ("127.0.0.1",)))
        for path in ("/task?id=a", "/task?id=a&part=story", "/task?id=a&part=history"):
            shown = site.get(path, **{"X-User": "ann"}).text
            assert "data is not JSON" in shown
            assert ("begun-word" in shown, "it begins with (not shown)" in shown) == (sees, not sees)


def test_the_process_of_a_worker_is_refused_with_the_fix(page, client, monkeypatch):
    site = page()
    monkeypatch.setattr(fork, "_workers", {object()})
    with pytest.raises(InsideWorker, match=r"PT198.*process of its own: `pytask web`"):
        web.app(client)
    answer = site.get("/")  # mounted before the worker started
    assert answer.status_code == 500
    assert "share its event loop" in answer.text


@pytest.mark.parametrize(
    "address", ["//evil.example", "https://evil.example", "/\\evil", "\\", "", "/a\nb", None]
)
def test_a_form_leads_to_the_page_only(address):
    assert local_path(address) == "/"
    assert local_path("/tasks?state=WAIT") == "/tasks?state=WAIT"
