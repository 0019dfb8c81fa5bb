"""Tasks of Django 6: queued by a process without gevent, run by `pytask run pytask.django.worker`."""

import json
import os
import signal
from datetime import datetime

import pytest

from tests.django.conftest import SITE, Site
from tests.support.cli_tools import done, pytask, until, write

pytest.importorskip(
    "django.tasks",
    reason="Django 6 needs Python 3.12: test_newer_python.py runs these with one, if there is one",
)
pytestmark = pytest.mark.slow


def test_what_a_result_has(site):
    site.migrate()
    with site.worker("--name=web-1"):
        done_, sent, failed, left, odd, stored, awaited = site.json(
            """
            import asyncio

            async def ask():
                made = await note_async.aenqueue("a")
                return await note_async.aget_result(made.id)

            queued = [add.enqueue(1, right=2), send.enqueue("ann"), fail.enqueue("no such row")]
            queued += [leave.enqueue(), odd.enqueue(), note.enqueue("row"), asyncio.run(ask())]
            say([shown(over(one)) for one in queued])
            """
        )
    assert (done_["status"], done_["value"], done_["attempts"]) == ("SUCCESSFUL", 3, 1)
    assert done_["args"] == [[1], {"right": 2}]
    assert (sent["queue"], sent["value"]) == ("mail", "sent to ann")
    assert [one["status"] for one in (failed, left, odd)] == ["FAILED"] * 3
    assert failed["errors"][0][0] == "builtins.LookupError"
    assert failed["errors"][0][1].endswith("LookupError: no such row\n")
    assert left["errors"][0][0] == "builtins.SystemExit"
    assert "Unsupported type" in odd["errors"][0][1]
    assert stored["value"] == 1
    assert awaited["value"] == [2, 1]
    for one in (done_, sent, failed, left, odd, stored, awaited):
        enqueued, started, attempted, finished = map(datetime.fromisoformat, one["times"])
        assert enqueued <= started == attempted <= finished
        assert one["worker_ids"] == ["web-1"]


def test_results_before_and_without_a_worker(site, client):
    """Also: an unknown id, the id of another task, and another Django task's `get_result`."""
    client.hset("other", mapping={"function": "tick", "data": "{}"})
    found = site.json(
        """
        from django.tasks import default_task_backend
        from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch

        made = add.enqueue(1, 2)
        same = add.get_result(made.id) == made
        errors = []
        for task, asked in ((add, "0" * 24), (add, "other"), (add, ""), (send, made.id)):
            try:
                task.get_result(asked)
            except (TaskResultDoesNotExist, TaskResultMismatch) as error:
                errors.append(type(error).__name__)
        say([same, shown(made), errors])
        """
    )
    same, made, errors = found
    assert same
    assert (made["status"], made["attempts"], made["times"][1:]) == ("READY", 0, [None] * 3)
    assert errors == ["TaskResultDoesNotExist"] * 3 + ["TaskResultMismatch"]
    assert client.hget(made["id"], "function") == "django/default"


def test_run_after_is_a_delayed_start(site, client, settled):
    task_id = site.run(
        """
        from datetime import timedelta
        from django.utils import timezone
        later = add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, 2)
        same = add.get_result(later.id)
        assert same.task.run_after == later.task.run_after
        assert same == later
        print(later.id)
        """
    ).strip()
    with site.worker():
        other = site.json("say(shown(over(add.enqueue(3, 4))))")
        assert other["value"] == 7
        assert client.hget(task_id, "state") == "WAIT"  # the worker had time to take it
        assert (
            float(client.hget(task_id, "not_before")) > float(client.hget(other["id"], "last_update")) + 3000
        )
        shown = done(pytask("start", task_id, "--redis", site.store.url))
        assert shown.returncode == 0, shown.stderr
        settled(task_id, "ENDED")


def test_what_cannot_be_queued_is_refused_with_the_reason(site, client):
    """PT251."""
    errors = site.json(
        """
        from django.tasks import task
        from django.tasks.exceptions import InvalidTask
        from shop import tasks
        from mysite.outside import outside

        hidden = task(tasks.plain)  # its name in the module is that of a plain function
        errors = []
        for ask in (lambda: add.using(priority=5), lambda: add.using(queue_name="none"), outside.enqueue,
                    hidden.enqueue):
            try:
                ask()
            except InvalidTask as error:
                errors.append(str(error))
        try:
            add.enqueue(1, {2})
        except TypeError as error:
            errors.append(str(error))
        say(errors)
        """
    )
    priority, queue, outside, hidden, odd = errors
    assert priority.startswith(
        "[PT251] Backend does not support setting priority of tasks. pytask starts tasks in"
    )
    assert "queue_name" in priority
    assert "Queue 'none' is not valid" in queue
    assert "in no installed app" in outside
    assert "write `@task`" in hidden
    assert "Unsupported type" in odd
    assert not client.keys("*")
    site.options["modules"] = ["mysite.outside"]  # the fix of the third
    with site.worker():
        assert (
            site.json("from mysite.outside import outside; say(shown(over(outside.enqueue())))")["value"]
            == "ran"
        )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os.system", "in no installed app"),
        ("shop.tasks.plain", "is not a task but a function"),
        ("shop.tasks.trap", "is not a task but a Trap"),
        ("shop.tasks.Note", "is not a task but a ModelBase"),
        ("shop.tasks.os.system", "there is no module 'shop.tasks.os'"),
        ("shop.tasks.nothing", "has no 'nothing'"),
        ("shop.nothing.task", "there is no module"),
        ("mysite.outside.outside", "in no installed app"),
        ("..shop.tasks.add", "is not the name of a task"),
        ("shop.tasks.__import__('os').system", "is not the name of a task"),
        ("", "is not the name of a task"),
    ],
)
def test_a_name_from_redis_that_is_no_task_is_not_called(client, settled, refusing, name, reason):
    data = json.dumps({"task": name, "args": []})
    client.hset("only:evil", mapping={"function": "django/default", "data": data})
    client.lpush("only:new-task", "evil")
    found = settled("only:evil", "ERROR", "ENDED")
    assert found["state"] == "ERROR"
    assert found["error"].startswith("[PT251] ")
    assert reason in found["error"]
    assert not (refusing.folder / "mark").exists()


@pytest.fixture(scope="module")
def refusing(store, tmp_path_factory):
    """A site with one worker for all names, which sees nothing of the other tests."""
    made = Site(store, tmp_path_factory.mktemp("refusing"))
    made.options["namespace"] = "only:"
    with made.worker():
        yield made


def test_a_killed_worker_counts_as_an_attempt(site, client, settled):
    locks = site.folder / "locks"
    locks.mkdir(mode=0o700)
    site.more["PYTASK_RUNTIME_DIR"] = str(locks)  # a lock proves the death, so nobody waits for silence
    with site.worker("--processes=2"):
        task_id = site.run(f"print(attempts.enqueue({str(site.folder)!r}).id)").strip()
        first = site.folder / "1"
        pid = until(lambda: first.exists() and first.read_text(), "it runs")
        running = site.json(f"say(shown(attempts.get_result({task_id!r})))")
        assert (running["status"], running["attempts"]) == ("RUNNING", 1)
        os.kill(int(pid), signal.SIGKILL)
        settled(task_id, "ENDED")
        result = site.json(f"say(shown(over(attempts.get_result({task_id!r}))))")
    assert result["value"] == [2, task_id]
    assert result["attempts"] == len(result["worker_ids"]) == 2
    enqueued, started, attempted, finished = map(datetime.fromisoformat, result["times"])
    assert enqueued <= started < attempted <= finished


def test_a_stopped_task_has_failed_and_says_so(site, client, settled):
    """PT252."""
    with site.worker():
        task_id = site.run(f"print(wait_for.enqueue({str(site.folder / 'go')!r}).id)").strip()
        settled(task_id, "RUNNING")
        assert done(pytask("stop", task_id, "--wait", "20", "--redis", site.store.url)).returncode == 0
        result = site.json(f"say(shown(over(wait_for.get_result({task_id!r}))))")
        ((path, text),) = result["errors"]
        assert (result["status"], path) == ("FAILED", "pytask.domain.errors.TaskStopped")
        assert text.startswith("[PT252] ")
        (site.folder / "go").touch()
        again = next(line for line in text.split(": ") if line.startswith("pytask start")).split(" runs")[0]
        assert done([*pytask(), *again.split()[1:], "--redis", site.store.url]).returncode == 0
        assert site.json(f"say(shown(over(wait_for.get_result({task_id!r}))))")["status"] == "SUCCESSFUL"


def test_a_task_is_queued_when_the_transaction_is_committed(site, client):
    site.migrate()
    kept, lost = site.json(
        """
        from functools import partial
        from django.db import transaction

        with transaction.atomic():
            transaction.on_commit(partial(add.enqueue, 1, 2))
            early = len(add.get_backend().client.list())
        kept = early, len(add.get_backend().client.list())
        try:
            with transaction.atomic():
                transaction.on_commit(partial(add.enqueue, 3, 4))
                raise LookupError
        except LookupError:
            pass
        say([kept, len(add.get_backend().client.list())])
        """
    )
    assert kept == [0, 1]
    assert lost == 1


def test_a_worker_for_one_queue(site, client, settled):
    target = write(
        site.folder / "mail_worker.py",
        """
        from pytask.django import worker_app

        app = worker_app(queues=["mail"])
        """,
    )
    with site.worker(target=target):
        other, sent = site.json("say([shown(add.enqueue(1, 2)), shown(over(send.enqueue('ann')))])")
        assert sent["value"] == "sent to ann"
        assert client.hget(other["id"], "state") == "WAIT"
    with site.worker():
        settled(other["id"], "ENDED")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://nowhere"}, ("ERRORS", "[PT020]")),
        ({"ulr": "redis://localhost"}, ("ERRORS", "[PT250]", "has no option 'ulr'; did you mean 'url'?")),
        ({"url": 6379}, ("ERRORS", "[PT250]", '["url"] must be a text')),
        ({"worker": {"max_taks": 5}}, ("ERRORS", "[PT250]", "did you mean 'max_tasks'?")),
        ({"worker": {"namespace": "x:"}}, ("ERRORS", "[PT250]", "one level up")),
        ({"modules": "mysite"}, ("ERRORS", "[PT250]", "must be a list")),
        (
            {"url": "redis://127.0.0.1:1", "connect_timeout": 0.5},
            ("WARNINGS", "does not answer", "127.0.0.1:1"),
        ),
        ({}, ()),
    ],
)
def test_check_reports_settings_and_an_unreachable_redis(site, options, words):
    """PT250."""
    site.options = {"url": site.store.url} | options
    shown = site.manage("check")
    for word in words:
        assert word in shown.stderr
    assert shown.returncode == ("ERRORS" in words)
    if not words:
        assert "no issues" in shown.stdout


def test_settings_that_a_worker_cannot_use(site):
    """PT250, and its fixes."""
    site.options["urls"] = site.options["url"]
    shown = done(pytask("run", "pytask.django.worker", "--check"), SITE, **site.variables)
    assert shown.returncode == 78
    assert "[PT250]" in shown.stderr
    assert "did you mean 'url'?" in shown.stderr
    del site.options["urls"]
    without = {name: text for name, text in site.variables.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = pytask("run", "pytask.django.worker", "--check")
    shown = done(command, site.folder, **without)
    assert shown.returncode == 78
    assert "[PT250]" in shown.stderr
    assert "set DJANGO_SETTINGS_MODULE" in shown.stderr
    assert done(command, SITE, **site.variables).returncode == 0


def test_signals_and_log_lines_of_the_framework(site, client):
    with site.worker("--task-logs=100") as running:
        made = site.json("say(shown(over(fail.enqueue('oh'))))")
        running.says(f"Task id={made['id']} path=shop.tasks.fail state=FAILED")
    lines = done(pytask("logs", made["id"], "--redis", site.store.url)).stdout
    assert "state=RUNNING" in lines
