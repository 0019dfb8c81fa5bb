"""What the pages show, and what their buttons do."""

import html
import json
import re

import pytest

import pytask
from pytask.client.records import Event, Frame, Stack, Stacks
from pytask.domain.samples import Sample
from pytask.web.access import Proxy, rights_of
from pytask.web.drawing import lifecycle, lines, owners, timeline
from pytask.web.pages import task
from pytask.web.text import block, shown

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202egnp"


def test_every_page_without_tasks(page):
    site = page()
    for path in ("/", "/tasks", "/workers", "/schedules", "/limits", "/functions", "/rejected", "/findings"):
        found = site.get(path)
        assert found.status_code == 200, found.text
        assert "<!doctype html>" in found.text


def test_parts_are_read_alone(page, client):
    client.start("f", id="a")
    site = page()
    for path in ("/", "/tasks", "/workers", "/task?id=a"):
        whole = site.get(path).text
        for name in re.findall(r'id="part-(\w+)" data-topics', whole):
            part = site.get(f"{path}{'&' if '?' in path else '?'}part={name}")
            assert part.text.startswith(f'<section id="part-{name}"'), part.text
            assert "<!doctype" not in part.text
    for name in ("nothing", "../layout", ""):
        assert site.get(f"/?part={name}").status_code == 404


def test_a_page_works_under_another_path(client, page):
    client.start("f", id="a")
    site = page()
    found = site._test.simulate_get("/tasks", root_path="/ops", headers={"Host": "localhost"}).text
    assert 'href="/ops/task?id=a"' in found
    assert 'src="/ops/static/' in found
    assert 'hx-get="/ops/tasks?part=rows"' in found
    assert not re.search(r'(href|src|action)="/(?!ops)', found)


def test_the_list_its_filters_and_its_pages(page, client):
    for number in range(7):
        client.start("f" if number % 2 else "g", id=f"task-{number}")
    client.stop("task-0")
    site = page()
    first = site.get("/tasks?limit=4").text
    assert len(re.findall("<tr id=", first)) == 4
    following = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = site.get(following).text
    ids = re.findall(r'data-id="([^"]+)"', first + second)
    assert sorted(ids) == [f"task-{n}" for n in range(7)]
    assert re.findall(r'data-id="([^"]+)"', site.get("/tasks?state=STOPPED").text) == ["task-0"]
    assert len(re.findall(r"data-id=", site.get("/tasks?function=f").text)) == 3
    assert len(re.findall(r"data-id=", site.get("/tasks?id=task-").text)) == 7
    assert site.get("/tasks?cursor=nonsense").status_code == 400
    assert site.get("/tasks?limit=many").status_code == 400


def test_an_action_on_many_is_counted_confirmed_and_done_once(page, client):
    for number in range(30):
        client.start("f", id=f"f-{number}")
    client.start("g", id="other")
    site = page()
    asked = site.post(
        "/tasks/choose", {"verb": "stop", "which": "all", "function": "f", "back": "/tasks?function=f"}
    )
    assert "Stop 30 tasks?" in asked.text
    assert client.count()["STOPPED"] == 0
    token = re.search(r'name="token" value="([^"]+)"', asked.text)[1]
    client.start("f", id="f-late")  # it was not counted
    done = site.post("/tasks/act", {"token": token})
    assert done.headers["location"].startswith("/tasks?function=f&note=")
    assert "30 stopped." in site.follow(done).text
    assert client.count()["STOPPED"] == 30
    assert client.get("f-late").state == "WAIT"
    assert "no longer known" in site.follow(site.post("/tasks/act", {"token": token})).text


def test_all_that_failed_are_queued_again_from_the_overview(page, client, redis):
    assert "Requeue all that failed" not in page().get("/").text
    for number in range(3):
        redis.hset(f"e-{number}", mapping={"function": "f", "state": "ERROR", "error": "x"})
        redis.zadd("pytask:index:ERROR", {f"e-{number}": 1})
    site = page()
    form = re.search(r"<form.*?Requeue all that failed", site.get("/").text, re.DOTALL)[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    asked = site.post("/tasks/choose", fields).text
    assert "Requeue 3 tasks?" in asked
    token = re.search(r'name="token" value="([^"]+)"', asked)[1]
    assert "3 queued again." in site.follow(site.post("/tasks/act", {"token": token})).text
    assert client.count()["WAIT"] == 3


def test_what_workers_count_is_on_the_overview(page, redis):
    for session, silent in (("s-1", 0), ("s-2", 0), ("gone", 60)):
        info = {"session": session, "name": session, "pid": 7, "functions": ["f"], "runs": {"f": 2},
                "restarted": {"f": {"failure": 1, "death": 2}}, "round_age": {"f": 3.0},
                "takeovers": {"counts": [1, 0, 3], "sum": 5.0}, "backing_off": 4}  # fmt: skip
        redis.hset("pytask:workers:info", session, json.dumps(info))
        redis.zadd("pytask:workers", {session: redis.time()[0] - silent})
    text = page().get("/?part=fleet").text
    shown = dict(re.findall(r"<dt>([^<]+)</dt><dd[^>]*>(?:<a[^>]*>)?([^<]+)<", text))
    expected = {"takeovers": "8", "restarts": "6", "wait for a retry": "8", "alive": "2", "silent": "1"}
    assert shown | expected == shown
    (row,) = re.findall(r"<tr><td><a[^>]*>f</a>(.*?)</tr>", text)
    assert re.findall(r"<td[^>]*>([^<]*)<", row) == ["4", "0", "6", "3s", "2", ""]


def test_the_last_hour_and_the_last_day_are_drawn(page, client, monkeypatch):
    found = tuple(Sample(at=1000 + 10 * n, running=n, slots=100, lease_age=0.5) for n in range(50))
    monkeypatch.setattr(client, "samples", lambda ring: found if ring == "hour" else (), raising=False)
    site = page()
    text = site.get("/").text
    assert text.count("<polyline") == 7
    assert "running <b>49</b>" in text
    assert "No samples" in site.get("/?ring=day").text
    numbers = json.loads(site.get("/samples?ring=hour").text)
    assert numbers["running"] == list(range(50))
    assert len({len(column) for column in numbers.values()}) == 1
    assert json.loads(site.get("/samples?ring=day").text)["at"] == []
    assert lines([[], []]).count("<polyline") == 2


def test_selected_tasks_and_those_that_are_left(page, client, running):
    client.start("f", id="a")
    running("r")
    site = page()
    asked = site.post("/tasks/choose", {"verb": "delete", "which": "selected", "task": ["a", "r", "gone"]})
    assert "Delete 3 tasks?" in asked.text
    token = re.search(r'name="token" value="([^"]+)"', asked.text)[1]
    told = site.follow(site.post("/tasks/act", {"token": token})).text
    assert "3 left as they were" in told
    assert "No task to stop" in site.follow(site.post("/tasks/choose", {"verb": "stop"})).text
    assert site.post("/tasks/choose", {"verb": "fly", "task": "a"}).status_code == 400


@pytest.mark.parametrize(("verb", "control"), [("stop", b"stop"), ("reload", b"reload"), ("pause", b"pause")])
def test_buttons_on_a_run_ask_its_worker(page, running, redis, verb, control):
    running("r")
    site = page()
    told = site.follow(site.post("/task?id=r", {"verb": verb})).text
    assert f"asked to {verb}" in told
    assert redis.hget("r", "control") == control


def test_stacks_are_asked_of_the_worker_and_escaped(page, running, redis, monkeypatch):
    running("r")
    site = page()
    assert "Show its stacks" in site.get("/task?id=r").text
    monkeypatch.setattr(task, "ANSWER", 0.01)
    told = site.follow(site.post("/task?id=r", {"verb": "stacks"})).text
    assert "no worker told within 0.01 s" in told
    stack = Stack(of="greenlet <b>", frames=(Frame("/app/f.py", 7, "Feed.start"), Frame("x", 1, "<i>")))
    monkeypatch.setattr(type(site.client), "stacks", lambda _self, _id, wait: Stacks([stack], more=True))
    shown = site.post("/task?id=r", {"verb": "stacks"}).text
    assert "More stacks are not shown: these are the first 1." in shown
    assert "greenlet &lt;b&gt;" in shown
    assert "Feed.start <small>/app/f.py:7</small>" in shown
    assert "<i>" not in shown


def test_who_may_only_look_asks_for_no_stacks(page, running):
    running("r")
    site = page(read_only=True)
    assert "Show its stacks" not in site.get("/task?id=r").text
    assert site.post("/task?id=r", {"verb": "stacks"}).status_code == 403


def test_start_requeue_and_delete(page, client):
    client.start("f", id="a")
    site = page()
    for verb, state in (("stop", "STOPPED"), ("start", "WAIT"), ("stop", "STOPPED"), ("requeue", "WAIT")):
        site.follow(site.post("/task?id=a", {"verb": verb}))
        assert client.get("a").state == state
    client.stop("a")
    assert "Tick the box" in site.follow(site.post("/task?id=a", {"verb": "delete"})).text
    site.post("/task?id=a", {"verb": "delete", "sure": "yes"})
    assert site.get("/task?id=a").status_code == 404
    assert site.post("/task?id=a", {"verb": "fly"}).status_code == 400
    assert site.post("/task?id=a").status_code == 400


def _mark(site, task_id):
    return re.search(r'name="mark" value="([^"]*)"', site.get(f"/task?id={task_id}").text)[1]


def test_new_data_is_checked_and_stored(page, client):
    client.start("f", {"n": 1}, id="a")
    site = page()
    mark = _mark(site, "a")
    for text, why in (
        ("{n: 2}", "no JSON"),
        ('{"n": 1, "n": 2}', "twice in one object"),
        ("[1]", "JSON object"),
        ("", "JSON object"),
        ("[" * 100_000, "no JSON"),
    ):
        refused = site.post("/task?id=a", {"verb": "data", "mark": mark, "data": text})
        assert refused.status_code == 422
        assert why in refused.text
    assert "{n: 2}" in site.post("/task?id=a", {"verb": "data", "mark": mark, "data": "{n: 2}"}).text
    stored = site.post("/task?id=a", {"verb": "data", "mark": mark, "data": '{"n": 2}'})
    assert "its next run has it" in site.follow(stored).text
    assert client.get("a").data == {"n": 2}
    again = site.post("/task?id=a", {"verb": "data", "mark": mark, "data": '{"n": 3}'})
    assert "has changed since you began" in again.text
    assert client.get("a").data == {"n": 2}


def test_secret_fields_are_masked_and_survive_an_edit(page, client, redis):
    info = {"session": "s", "name": "yew", "secret": {"f": ["key"]}, "functions": ["f"]}
    redis.hset("pytask:workers:info", "s", json.dumps(info))
    redis.zadd("pytask:workers", {"s": redis.time()[0]})
    client.start("f", {"key": "sesame", "n": 1}, id="a")
    site = page()
    text = site.get("/task?id=a").text + site.get("/raw?id=a&field=data").text
    assert "sesame" not in text
    assert "********" in text
    fields = {"verb": "data", "mark": _mark(site, "a"), "data": '{"key": "********", "n": 2}'}
    site.follow(site.post("/task?id=a", fields))
    assert client.get("a").data == {"key": "sesame", "n": 2}
    fields = {"verb": "data", "mark": _mark(site, "a"), "data": '{"other": "********"}'}
    assert "stands for a secret" in site.post("/task?id=a", fields).text
    assert client.get("a").data == {"key": "sesame", "n": 2}


def test_hostile_values_are_shown_as_text(page, client, redis, running):
    texts = dict.fromkeys(("function", "worker", "error", "output", "saved", "group"), HOSTILE)
    running("r", **texts, data=json.dumps({"x": HOSTILE}), history=f"1 RUNNING WAIT {HOSTILE} a b\n")
    client.start(HOSTILE, {"x": HOSTILE}, id="<b>&\"'\u202e")
    info = {"session": "s", "name": HOSTILE, "host": HOSTILE, "functions": [HOSTILE], "version": HOSTILE}
    redis.hset("pytask:workers:info", "s", json.dumps(info))
    redis.zadd("pytask:workers", {"s": redis.time()[0]})
    redis.hset(b"pytask:schedule:\xff<i>", mapping={"function": HOSTILE, "every": "60", "error": HOSTILE})
    redis.zadd("pytask:schedules", {b"\xff<i>": 1.0})
    redis.lpush("pytask:rejected", json.dumps({"id_hex": HOSTILE.encode().hex(), "reason": HOSTILE}))
    redis.hset("pytask:limits", f"group:{HOSTILE}", "many")
    client.pause_functions([HOSTILE])
    site = page(findings=lambda: [Found(HOSTILE)])
    paths = [
        "/",
        "/tasks",
        "/task?id=r",
        "/workers",
        "/schedules",
        "/limits",
        "/functions",
        "/rejected",
        "/findings",
    ]
    paths += [
        "/task?id=%3Cb%3E%26%22%27%E2%80%AE",
        "/tasks?function=" + "%3Cscript%3E",
        "/schedule?name=%FF%3Ci%3E",
    ]
    for path in paths:
        text = site.get(path).text
        for word in ("<script>alert", "<img", "<i>", "\x1b", "\u202e"):
            # What a form sends back is as Redis has it, escaped.
            seen = re.sub(r'(value|data-id)="[^"]*"', "", text) if word in "\x1b\u202e" else text
            assert word not in seen.replace("<script src", ""), (path, word)
    assert "\\u202e" in site.get("/tasks").text


class Found:
    code, serious = "PT095", True

    def __init__(self, text):
        self.what = self.fix = text


@pytest.mark.parametrize("task_id", ["\u202e<b>\"'&", "long-" + "x" * 500, " a+b%20c?d=e&f#g "])
def test_an_id_is_sent_back_as_it_is(page, client, task_id):
    client.start("f", id=task_id)
    site = page()
    text = site.get("/tasks").text
    value = html.unescape(re.search(r'name="task" value="([^"]*)"', text)[1])
    assert value == task_id
    link = html.unescape(re.search(r'<td class="id"><a href="([^"]*)"', text)[1])
    found = site.get(link)
    action = html.unescape(re.search(r'action="(/task[^"]*)"', found.text)[1])
    site.follow(site.post(action, {"verb": "stop"}))
    assert client.get(task_id).state == "STOPPED"
    asked = site.post(
        "/tasks/choose", {"verb": "start", "task": value, "back": f"/tasks?function={'g' * 400}"}
    ).text
    token = re.search(r'name="token" value="([^"]+)"', asked)[1]
    assert html.unescape(re.search(r'class="button" href="([^"]*)"', asked)[1]).endswith("g" * 400)
    site.post("/tasks/act", {"token": token})
    assert client.get(task_id).state == "WAIT"


def test_characters_that_are_made_visible_can_be_edited(page, client):
    client.start("f", {"a": "\u202e\x7f\u2028<b>"}, id="a")
    site = page()
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", site.get("/task?id=a").text, re.DOTALL)[1]
    assert "\u202e" not in text
    mark = _mark(site, "a")
    site.follow(site.post("/task?id=a", {"verb": "data", "mark": mark, "data": html.unescape(text)}))
    assert client.get("a").data == {"a": "\u202e\x7f\u2028<b>"}
    client.update_data("a", {"a": "x" * 300_000})
    site.site.cache.clear()
    assert "too long to be edited" in site.get("/task?id=a").text


def test_events_and_schedules_are_masked_like_data(page, client, redis):
    info = {"session": "s", "secret": {"f": ["key"]}, "functions": ["f"]}
    redis.hset("pytask:workers:info", "s", json.dumps(info))
    redis.zadd("pytask:workers", {"s": redis.time()[0]})
    client.start("f", id="a")
    client.schedules.add("nightly", "f", {"key": "sesame"}, every=60)
    site = page()
    live = site.site.hub
    viewer = live.join(["events"], "a")
    live.note(Event(id="a", name="tick", data={"key": "sesame", "n": 1}))
    text = site.get("/task?id=a&part=events").text + site.get("/schedule?name=nightly").text
    assert text.count("********") == 2
    assert "sesame" not in text
    live.leave(viewer)


def test_long_values_are_cut_and_whole_as_a_file(page, client, running):
    running("r", data=json.dumps({"x": "y" * 1_000_000}), error="z" * 1_000_000)
    site = page()
    text = site.get("/task?id=r&part=payloads").text
    assert len(text) < 60_000
    assert "more characters" in text
    whole = site.get("/raw?id=r&field=data")
    assert len(whole.text) > 1_000_000
    assert whole.headers["content-type"].startswith("text/plain")
    assert "attachment" in whole.headers["content-disposition"]
    assert len(site.get("/raw?id=r&field=error").text) == 1_000_000
    assert site.get("/raw?id=r&field=history").status_code == 400


def test_text_is_escaped_and_marks_are_visible():
    assert shown("a\x00\u202eb") == "a\\x00\\u202eb"
    assert shown(None) == ""
    assert "more characters" in shown("x" * 1000)
    assert block("<b>\n\u2066") == "&lt;b&gt;\n\\u2066"


def test_functions_schedules_and_limits(page, client):
    site = page()
    assert "paused" in site.follow(site.post("/functions", {"name": "f", "verb": "pause"})).text
    assert client.count().held == ("f",)
    site.post("/functions", {"name": "f", "verb": "resume"})
    assert client.count().held == ()
    client.schedules.add("nightly", "f", cron="0 3 * * *")
    assert "03:00" in site.get("/schedule?name=nightly").text
    for verb, paused in (("pause", True), ("resume", False)):
        site.follow(site.post("/schedule?name=nightly", {"verb": verb}))
        assert client.schedules.get("nightly").paused is paused
    assert "Tick the box" in site.follow(site.post("/schedule?name=nightly", {"verb": "remove"})).text
    site.post("/schedule?name=nightly", {"verb": "remove", "sure": "yes"})
    assert client.schedules.list() == []
    assert site.get("/schedule?name=nightly").status_code == 404
    site.post("/limits", {"kind": "group", "name": "a", "limit": "3", "verb": "set"})
    assert client.limits.get(group="a").limit == 3
    assert "bad" in site.follow(site.post("/limits", {"kind": "group", "name": "a", "limit": "x"})).text
    assert "group a" in site.get("/limits?group=a").text
    site.post("/limits", {"kind": "group", "name": "a", "verb": "remove"})
    assert client.limits.get(group="a").limit is None


def test_findings_have_their_fix_and_a_mounted_page_says_where_they_are(page):
    assert "pytask doctor" in page().get("/findings").text
    assert "No problems" in page(findings=list).get("/findings").text
    assert "Fix:" in page(findings=lambda: [Found("x")]).get("/findings").text


def test_metrics_are_mounted_behind_the_guard(page):
    def metrics(environ, start):
        assert environ["PATH_INFO"] == "/metrics"
        start("200 OK", [("Content-Type", "text/plain; version=0.0.4")])
        return [b"pytask_tasks 1\n"]

    found = page(metrics=metrics).get("/metrics")
    assert found.text == "pytask_tasks 1\n"
    assert found.headers["content-type"] == "text/plain; version=0.0.4"
    assert page().get("/metrics").status_code == 404


def test_files_of_the_page_and_no_others(page):
    site = page()
    text = site.get("/").text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
        assert site.get(path.replace("&amp;", "&")).status_code == 200
    for path in ("/static/..%2fsite.py", "/static/htmx.LICENSE", "/static/", "/static/x.js"):
        assert site.get(path).status_code == 404


def test_the_life_cycle_and_the_owners_are_drawn(page, client):
    client.start("f", id="a")
    client.stop("a")
    moves = client.get("a").history
    picture = str(lifecycle(client.get("a").state))
    assert 'class="box fill-stopped now"' in picture
    assert picture.count(" now") == 1
    assert [one.state for one in owners(moves)] == ["STOPPED"]
    assert "STOPPED for" in str(timeline(moves, moves[-1].at + 60))
    assert timeline((), 0.0) == ""


def test_several_partitions_are_one_page(page, redis):
    from tests.unit.web.conftest import Page

    with pytask.Client(redis, namespace="app:", partitions=3) as client:
        for number in range(20):
            client.start("f", id=f"task-{number}")
        site = Page(client, redis)
        assert len(re.findall("data-id=", site.get("/tasks").text)) == 20
        for path in ("/", "/task?id=task-7", "/workers", "/schedules", "/limits", "/functions", "/rejected"):
            assert site.get(path).status_code == 200
        asked = site.post("/tasks/choose", {"verb": "stop", "which": "all"}).text
        token = re.search(r'name="token" value="([^"]+)"', asked)[1]
        assert "20 stopped." in site.follow(site.post("/tasks/act", {"token": token})).text


def test_a_part_of_a_task_that_is_gone_leads_to_its_page(page):
    answer = page().get("/task?id=none&part=story")
    assert (answer.status_code, answer.headers["hx-refresh"]) == (404, "true")


@pytest.mark.parametrize("part", ["payloads", "editor"])
def test_a_part_that_a_user_may_not_see_is_refused(page, client, part):
    client.start("f", id="a")
    site = page(access=Proxy("X-User", rights_of("view"), ("127.0.0.1",)))
    assert site.get(f"/task?id=a&part={part}", **{"X-User": "ann"}).status_code == 403
    assert site.get("/task?id=a&part=story", **{"X-User": "ann"}).status_code == 200
