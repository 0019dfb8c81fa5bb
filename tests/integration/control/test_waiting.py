"""`wait`, `watch`, and verbs that wait."""

import json
import signal

import pytest

from tests.integration.control.conftest import rows
from tests.support.cli_tools import Started, pytask, quickest, until
from tests.support.servers import free_port


def test_what_does_not_come_in_time_is_124(cli, client, tmp_path):
    made = cli.started("sleeper")
    late = cli("wait", made, "--timeout", "0.1")
    assert (late.exit_code, late.stdout) == (124, "")
    assert "it is RUNNING" in late.stderr
    deaf = cli.started("deaf", f"until={tmp_path / 'enough'}")
    with client.pubsub(ignore_subscribe_messages=True) as stream:
        stream.subscribe(f"task-{deaf}-control")
        late = cli("stop", deaf, made, "--wait", "5", "-o", "json")  # the time in which the other one stops
        client.publish(f"task-{deaf}-control", "over")
        words = []
        until(lambda: words.append(stream.get_message(timeout=1)) or "over" in str(words), words)
    # The awaited request is sent once: a second one might undo a change made in between.
    assert [one["data"] for one in words if one is not None] == ["stop", "over"]
    assert late.exit_code == 124
    assert [rows(late)[i]["outcome"] for i in (deaf, made)] == ["not yet", "done"]
    (tmp_path / "enough").touch()  # or it would go on telling that it does not stop
    assert cli("wait", deaf, "--for", "stopped").exit_code == 0


def test_watching(cli, client, store, tmp_path):
    with client.pubsub(ignore_subscribe_messages=True) as stream:
        stream.subscribe("task-watched")
        made = cli.started("sleeper", "n=1", "--id", "watched")
        # What it tells at its start must not come when the others listen.
        until(lambda: "slept" in str(stream.get_message(timeout=1)), "its first event")
    with (
        Started(pytask("watch", made, "-o", "jsonl", "--redis", store.url), tmp_path) as one,
        Started(pytask("watch", "--redis", store.url), tmp_path) as everything,
    ):

        def seen():
            """Of this task: a monitor may requeue meanwhile what another test of this folder has left."""
            return [line.split("  ")[2] for line in everything.output.splitlines() if f"  {made}  " in line]

        until(lambda: client.pubsub_numsub(f"task-{made}")[0][1], lambda: one.output)
        until(lambda: client.pubsub_numpat() >= 2, lambda: everything.output)
        assert cli("reload", made, "--wait", "30").exit_code == 0
        assert cli("stop", made, "--wait", "30").exit_code == 0
        until(lambda: len(one.output.splitlines()) == 3, lambda: one.output)
        events = [json.loads(line) for line in one.output.splitlines()]
        assert [event["event"] for event in events] == ["reloaded", "slept", "stopped"]
        assert events[1]["data"] == {"n": 1}
        assert {event["id"] for event in events} == {made}
        until(lambda: len(seen()) == 3, lambda: everything.output)
        assert seen() == ["reloaded", "slept", "stopped"]
        assert everything.end(signal.SIGINT) == 130
        assert one.end(signal.SIGINT) == 130
        assert "Traceback" not in one.output


def test_watching_what_is_not_there_yet_waits_for_it(client, store, tmp_path):
    command = pytask("watch", "later-1", "--count", "2", "-o", "jsonl", "--redis", store.url)
    with Started(command, tmp_path) as watching:
        watching.says("task 'later-1' does not exist yet: waiting for its events")
        until(lambda: client.pubsub_numsub("task-later-1")[0][1], lambda: watching.output)
        client.hset("later-1", mapping={"function": "echo", "data": "{}"})
        client.lpush("new-task", "later-1")
        assert watching.process.wait(30) == 0, watching.output
        events = [json.loads(line)["event"] for line in watching.output.splitlines() if line.startswith("{")]
    assert events == ["running", "ended"]


def test_watching_for_a_time(cli):
    ended = json.loads(cli("new", "echo", "--wait", "30", "-o", "json").stdout)["id"]
    shown = cli("watch", ended, "--for", "0.2")
    assert (shown.exit_code, shown.stdout) == (0, "")


@pytest.mark.parametrize(
    "words", [["new", "x"], ["stop", "x"], ["wait", "x"], ["watch"], ["rm", "--all", "-y"]]
)
def test_a_wrong_address_is_reported_soon(cli, words):
    def attempt():
        shown = cli(*words, "--redis", f"redis://127.0.0.1:{free_port()}")
        assert shown.exit_code == 69
        assert "--redis URL" in shown.stderr

    assert quickest(attempt) < 1.0
