"""The page in a real browser."""

import functools
import http.server
import json
import re
import threading
import time
from urllib.parse import quote

import pytest

from tests.browser.conftest import until
from tests.support.web_page import Served

pytestmark = pytest.mark.slow

PATHS = (
    "/", "/tasks", "/task?id=a", "/workers", "/schedules", "/schedule?name=nightly", "/limits", "/functions",
    "/rejected", "/findings",
)  # fmt: skip
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>\x1b[31m\u202egnp"
SECRET = "sesame-open"
PICTURES = (("overview", "/", "light"), ("tasks", "/tasks", "dark"), ("task", "/task?id=account-00", "light"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_fits_and_follows_the_scheme(open_tab, client, scheme, width):
    client.start("counter", id="a")
    client.start("nobody-knows", id="parked-" + "long" * 20)
    client.schedules.add("nightly", "counter", cron="0 3 * * *", tz="Europe/Berlin")
    client.wait("a", "RUNNING")
    tab = open_tab("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path in PATHS:
        page = tab.goto(path)
        assert page.locator("h1").count() == 1, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") is (scheme == "light")
    client.schedules.remove("nightly")


def test_what_changes_is_shown_without_a_reload(open_tab, client):
    tab = open_tab("/tasks")
    page = tab.page
    page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
    page.evaluate("window.mark = 1")
    client.start("counter", id="fresh")
    page.locator('tr[data-id="fresh"] .state.running').wait_for()
    client.stop("fresh")
    page.locator('tr[data-id="fresh"] .state.stopped').wait_for()
    assert page.evaluate("window.mark") == 1
    overview = open_tab("/").page
    overview.evaluate("window.mark = 1")
    client.start("nobody", id="parked")
    overview.locator('#part-counts a[href$="state=WAIT"] b', has_text=re.compile("^1$")).wait_for()
    assert overview.evaluate("window.mark") == 1


def test_a_thousand_are_stopped_after_a_count_and_a_question(open_tab, client):
    client.start_many([("bulk", None, f"bulk-{number:04}") for number in range(1000)])
    client.start("other", id="other")
    until(lambda: client.count().parked.get("bulk") == 1000, "they are parked")  # none moves any more
    page = open_tab("/tasks?function=bulk").page
    page.get_by_label("all of this list").check()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("heading", name="Stop 1,000 tasks?").wait_for()
    assert client.count()["STOPPED"] == 0
    page.get_by_role("button", name="Stop 1,000").click()
    page.get_by_text("1,000 stopped.").wait_for()
    assert client.count()["STOPPED"] == 1000
    assert client.get("other").state == "WAIT"


def test_a_selection_is_kept_while_the_list_refreshes(open_tab, client):
    for number in range(3):
        client.start("nobody", id=f"n-{number}")
    page = open_tab("/tasks").page
    page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
    page.locator('tr[data-id="n-1"] input').check()
    client.start("nobody", id="n-9")
    page.locator('tr[data-id="n-9"]').wait_for()
    assert page.locator('tr[data-id="n-1"] input').is_checked()
    assert not page.locator('tr[data-id="n-9"] input').is_checked()
    page.get_by_text("1 selected").wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("heading", name="Stop 1 task?").wait_for()


def test_new_data_is_checked_by_the_worker_first(open_tab, client):
    client.start("counter", {"interval": 0.5, "key": SECRET}, id="a")
    client.wait("a", "RUNNING")
    page = open_tab("/task?id=a").page
    assert SECRET not in page.content()
    page.get_by_label("JSON object").fill('{"interval": "soon"}')
    page.get_by_role("button", name="Check and reload").click()
    page.get_by_role("alert").get_by_text("the task does not take it: $.interval").wait_for()
    assert "soon" in page.get_by_label("JSON object").input_value()
    assert client.get("a").data == {"interval": 0.5, "key": SECRET}
    page.get_by_label("JSON object").fill('{"interval": 0.25, "key": "********"}')
    page.get_by_role("button", name="Check and reload").click()
    page.get_by_text("The task has taken its new data").wait_for()
    assert client.get("a").data == {"interval": 0.25, "key": SECRET}


def test_the_log_and_the_events_follow(open_tab, client):
    client.start("counter", {"interval": 0.2}, id="a")
    page = open_tab("/task?id=a").page
    page.locator("#part-log .log p").first.wait_for()
    page.evaluate("window.mark = 1")
    newest = page.locator("#part-log .log p").last.inner_text

    def more():
        before = newest()
        until(lambda: newest() != before, "lines arrive")

    more()
    page.locator("#part-events li").first.wait_for()
    # The log stays at its end, until somebody scrolls up.
    page.evaluate("document.styleSheets[0].insertRule('.log { max-height: 60px !important }', 0)")
    box = "document.querySelector('.log')"
    page.evaluate(f"{box}.scrollTop = {box}.scrollHeight")
    more()
    assert page.evaluate(f"{box}.scrollHeight - {box}.clientHeight - {box}.scrollTop") < 30
    assert page.evaluate(f"{box}.scrollTop") > 0
    page.evaluate(f"{box}.scrollTop = 0")
    more()
    more()
    assert page.evaluate(f"{box}.scrollTop") == 0
    assert page.evaluate("window.mark") == 1


def test_all_by_keyboard(open_tab, client):
    for number in range(3):
        client.start("nobody", id=f"k-{number}")
    page = open_tab("/").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/tasks")
    page.locator('tr[data-id="k-0"]').wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_text("1 selected").wait_for()
    chosen = page.evaluate("document.activeElement.textContent")
    shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert shown == "solid"
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Stop 1 task?").wait_for()
    page.keyboard.press("Enter")  # the button has the focus
    page.get_by_text("1 stopped.").wait_for()
    assert client.get(chosen).state == "STOPPED"
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/task?id=*")


def test_hostile_values_are_text(open_tab, client, raw):
    big = HOSTILE + "x" * 1_000_000
    task_id = "<img src=x onerror=alert(3)>\u202e&"
    history = "1000 WAIT ERROR fail %3Cb%3E %3Cimg%20src=x%20onerror=alert(4)%3E\n"
    fields = {
        "function": HOSTILE,
        "worker": HOSTILE,
        "state": "ERROR",
        "last_update": int(time.time()),
        "history": history,
    }
    raw.hset(task_id, mapping=fields | {"data": json.dumps({HOSTILE: big}), "error": big, "output": big})
    raw.zadd("pytask:index:ERROR", {task_id: time.time()})  # an older one would be tidied away
    raw.lpush("pytask:rejected", json.dumps({"id_hex": HOSTILE.encode().hex(), "reason": HOSTILE}))
    client.start("nobody", id="watched")
    tab = open_tab("/")
    for path in ("/", "/tasks", f"/task?id={quote(task_id)}", "/functions", "/rejected", "/findings"):
        page = tab.goto(path)
        page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
        assert page.locator("main img, main script").count() == 0, path
        assert "\u202e" not in page.locator("body").inner_text()
    page = tab.goto(f"/task?id={quote(task_id)}")
    raw.hset(task_id, "error", "<img src=x onerror=alert(5)> again")
    page.locator("#part-payloads pre.error", has_text="again").wait_for()
    assert page.locator("main img").count() == 0
    raw.delete(task_id)
    raw.zrem("pytask:index:ERROR", task_id)


@pytest.fixture
def other_site(site, tmp_path):
    """A page of another origin that posts a form to ours."""
    text = f'<form method="post" action="{site.address}/task?id=a"><input name="verb" value="stop"></form>'
    (tmp_path / "index.html").write_text(f"{text}<script>document.forms[0].submit()</script>")
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words):
        pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_form_of_another_site_is_refused(browser, other_site, client, host):
    client.start("nobody", id="a")
    page = browser.new_page()
    page.goto(f"http://{host}:{other_site}/")
    page.get_by_text("this form was sent by another site").wait_for()
    assert client.get("a").state == "WAIT"
    page.close()


def test_read_only_refuses_on_the_server(open_tab, client, fleet, tmp_path):
    client.start("nobody", id="a")
    served = Served(fleet[0].url, tmp_path, "--read-only")
    try:
        tab = open_tab("/task?id=a", served.address)
        assert tab.page.get_by_role("button", name="Stop", exact=True).count() == 0
        form = "{method: 'POST', body: new URLSearchParams({verb: 'stop'})}"
        assert tab.page.evaluate(f"fetch('/task?id=a', {form}).then((answer) => answer.status)") == 403
        assert client.get("a").state == "WAIT"
    finally:
        tab.page.close()
        served.close()


def test_a_login_and_one_who_guesses(open_tab, client, fleet, tmp_path):
    from pytask.web.access import rights_of, with_user

    client.start("nobody", id="a")
    with_user(tmp_path / "users", "ann", rights_of("view,act"), "the right one")
    served = Served(fleet[0].url, tmp_path, "--auth", str(tmp_path / "users"))
    try:
        page = open_tab("/tasks", served.address).page

        def log_in(password):
            page.get_by_label("Name").fill("ann")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Log in").click()

        log_in("the right one")
        page.get_by_role("heading", name="Overview").wait_for()
        page.goto(f"{served.address}/task?id=a")
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_text("1 stopped.").wait_for()
        page.locator("#part-history li", has_text="ann@web").wait_for()
        page.get_by_role("button", name="Log out").click()
        refused = page.get_by_text("too many tries")
        for _ in range(12):  # five are free; on a slow machine the first waits are over before the next try
            with page.expect_navigation():
                log_in("a guess")
            page.get_by_text("no such user").or_(refused).wait_for()
            if refused.count():
                break
        assert refused.count(), "nobody was slowed down"
    finally:
        page.close()
        served.close()


def test_without_script(open_tab, client):
    client.start("nobody", id="a")
    client.start("nobody", id="b")
    page = open_tab("/tasks", java_script_enabled=False).page
    page.locator('tr[data-id="a"] input').check()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop 1").click()
    page.get_by_text("1 stopped.").wait_for()
    page.get_by_role("link", name="a", exact=True).click()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("1 started again.").wait_for()
    assert client.get("a").state == "WAIT"


def test_the_last_hour_is_drawn_with_script_and_without(open_tab, client, site):
    until(client.samples, "the monitor keeps a sample")
    page = open_tab("/").page
    page.locator("#part-charts canvas").first.wait_for()
    assert page.locator("#part-charts canvas").count() == 4
    assert page.locator("#part-charts svg").first.is_hidden()
    plain = open_tab("/", java_script_enabled=False).page
    assert plain.locator("#part-charts polyline").count() == 7
    assert site.get("/samples?ring=day")[0] == 200


def test_a_hidden_page_holds_no_connection(open_tab, site):
    page = open_tab("/").page
    page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.locator("#pulse", has_text="not live").wait_for()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
    assert site.process.poll() is None


def test_the_pictures_of_the_documentation(open_tab, client, pictures):
    """`PYTASK_PICTURES=docs/web python -m pytest tests/browser -k pictures` takes them."""
    for number in range(12):
        client.start("counter", {"interval": 0.5}, id=f"account-{number:02}")
    client.start("broken", id="nightly-report")
    client.wait("nightly-report", "ERROR")
    client.wait("account-00", "RUNNING")
    client.pause("account-03", wait=20)
    client.start("counters", id="misspelled")
    for name, path, scheme in (
        ("overview", "/", "light"),
        ("tasks", "/tasks", "dark"),
        ("task", "/task?id=account-00", "light"),
    ):
        tab = open_tab(path, viewport={"width": 1100, "height": 720}, color_scheme=scheme)
        tab.page.locator("#pulse", has_text=re.compile("^live$")).wait_for()
        if name == "task":
            tab.page.locator("#part-events li").nth(2).wait_for()
        if pictures is not None:
            pictures.mkdir(exist_ok=True)
            tab.page.screenshot(path=pictures / f"{name}.png")
