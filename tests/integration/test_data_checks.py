"""`pytask new` and `schedule add` check data against what real workers show of their functions."""

import json

import pytest

from tests.support.cli_tools import Started, pytask, until, write

pytestmark = pytest.mark.slow

OLD = """
    import attrs
    from pytask import Task

    @attrs.define
    class Parcel:
        street: str
        number: int
        token: str = ""
        stay: bool = False

    class Post(Task):
        class Config:
            NAME = "post"
            DATA = Parcel
            SECRET = ("token",)
        def start(self):
            while self.task_data.stay:
                self.sleep(60)
            return self.task_data.street

    class Free(Task):
        class Config:
            NAME = "free"
        def start(self):
            return self.task_data
"""
NEW = OLD.replace("number: int", "number: int | str").replace('"free"', '"other"')


@pytest.fixture
def worker(store, client, tmp_path):
    """Starts a worker of a text; both run until the end of the test."""
    started = []

    def start(name, text):
        write(tmp_path / f"{name}.py", text)
        command = pytask("run", f"{name}.py", "--redis", store.url, "--name", name)
        started.append(Started(command, tmp_path, tmp_path))
        until(lambda: client.hlen("pytask:workers:info") == len(started), lambda: started[-1].output)

    yield start
    for one in started:
        one.end(check=False)


def parcels(client):
    return [name for name in client.scan_iter(_type="hash") if client.hget(name, "function") == "post"]


def test_data_that_fits_no_worker_is_refused_before_it_is_sent(worker, client, cli):
    worker("old", OLD)
    for words, path, reason in (
        (["street=Elm"], "$.number", "is required, but missing"),
        (["street=Elm", "number=twelve"], "$.number", "expected integer, got string"),
        (["street=Elm", "number=12", "stret=x"], "$.stret", "is unknown; the fields are: street, number"),
        (["street=Elm", "number=1", "token=[1]"], "$.token", "expected string, got array"),
        ([], "$.street", "is required, but missing"),
    ):
        shown = cli("new", "post", *words)
        assert (shown.exit_code, shown.stdout) == (2, "")
        assert "[PT240]" in shown.stderr
        assert f"{path} " in shown.stderr
        assert reason in " ".join(shown.stderr.split())
        assert "--no-check" in shown.stderr
    shown = cli("schedule", "add", "daily", "post", "--every", "1h", "street=Elm")
    assert (shown.exit_code, client.zcard("pytask:schedules")) == (2, 0)
    assert parcels(client) == []
    # The fix fixes it, and so does the other way out.
    ended = cli.json("new", "post", "street=Elm", "number=12", "--wait", "20")
    assert (ended["state"], ended["output"]) == ("ENDED", "Elm")
    made = cli("new", "post", "street=Elm", "--no-check")
    assert made.exit_code == 0
    until(lambda: client.hget(made.stdout.strip(), "state") == "ERROR", "the worker refuses it")
    assert cli("schedule", "add", "daily", "post", "--every", "1h", "street=Elm", "--no-check").exit_code == 0


def test_new_data_of_a_running_task_is_checked_in_the_same_way(worker, client, cli):
    worker("old", OLD)
    data = {"street": "Elm", "number": 1, "stay": True}
    client.hset("other", mapping={"function": "unheard", "state": "RUNNING", "data": "{}"})
    assert cli("new", "post", "--data", json.dumps(data), "--id", "mine").exit_code == 0
    until(lambda: client.hget("mine", "state") == "RUNNING", "it runs")
    before = client.hget("mine", "data")
    for words in (["mine"], ["--name", "post", "-y"]):
        shown = cli("reload", *words, "--data", '{"street": "Elm", "number": "s3cr3t"}')
        assert (shown.exit_code, shown.stdout.split()[-3:]) == (2, ["mine", "refused", "RUNNING"])
        assert "[PT240] the data does not fit 'post': $.number is wrong: expected integer, got string" in (
            " ".join(shown.stderr.split())
        )
        assert "--no-check" in shown.stderr
        assert "s3cr3t" not in shown.stdout + shown.stderr
        assert (client.hget("mine", "data"), client.hget("mine", "control")) == (before, None)
    # Of several, those that may take it do; and the fix fixes it, as does the other way out.
    shown = cli("reload", "mine", "other", "--data", '{"n": 1}', "-o", "json")
    found = {one["id"]: one["outcome"] for one in json.loads(shown.stdout)["items"]}
    assert (found["mine"], found["other"] != "refused") == ("refused", True)
    assert (client.hget("mine", "data"), client.hget("other", "data")) == (before, '{"n":1}')
    ready = cli("reload", "mine", "--wait", "20", "--data", json.dumps(data | {"number": 2}))
    assert (ready.exit_code, json.loads(client.hget("mine", "data"))["number"]) == (0, 2)
    forced = cli("reload", "mine", "--wait", "20", "--no-check", "--data", '{"street": "Elm"}')
    assert forced.exit_code != 0
    assert "PT240" not in forced.stderr
    assert "PT049" in forced.stderr  # its worker has refused it


def test_a_secret_is_not_in_the_refusal(worker, cli):
    worker("old", OLD)
    shown = cli("new", "post", "street=Elm", "number=1", 'token=["s3cr3t-word"]')
    assert shown.exit_code == 2
    assert "s3cr3t" not in shown.stdout + shown.stderr


def test_during_a_deploy_one_worker_that_accepts_is_enough(worker, cli):
    worker("old", OLD)
    assert cli("new", "post", "street=Elm", "number=twelve").exit_code == 2
    worker("new", NEW)
    assert cli("new", "post", "street=Elm", "number=twelve").exit_code == 0
    shown = cli("new", "post", "street=Elm", "number=[]")
    assert "other workers refuse it for another reason" in " ".join(shown.stderr.split())


def test_what_no_worker_describes_is_sent_as_ever(worker, client, cli):
    shown = cli("new", "post", "street=5")
    assert (shown.exit_code, "no running worker knows" in shown.stderr) == (0, True)
    worker("old", OLD)
    assert cli("new", "free", "anything=[1]").exit_code == 0
    assert cli("new", "unheard", "anything=[1]").exit_code == 0


def test_an_older_worker_shows_no_schema_and_all_is_sent(worker, client, cli):
    worker("old", OLD)
    (session,) = client.hkeys("pytask:workers:info")
    entry = json.loads(client.hget("pytask:workers:info", session)) | {"session": "older"}
    del entry["schemas"]
    client.hset("pytask:workers:info", "older", json.dumps(entry))
    client.zadd("pytask:workers", {"older": client.time()[0] + 60})
    assert cli("new", "post", "street=5").exit_code == 0


@pytest.mark.parametrize("junk", [[], "text", {"post": 5}, {"post": {"type": 7, "required": 3}}])
def test_an_entry_with_anything_in_it_refuses_nothing(junk, client, cli):
    entry = {"session": "odd", "name": "odd", "functions": ["post"], "schemas": junk}
    client.hset("pytask:workers:info", "odd", json.dumps(entry))
    client.zadd("pytask:workers", {"odd": client.time()[0] + 60})
    assert cli("new", "post", "street=5").exit_code == 0
