"""docs/recipes/postgres.md with a real PostgreSQL: what outlives a run at the server, and what ends it there.

Each statement of a task waits at a gate, a lock that the test holds, so nothing here depends on times.
"""

import os
import signal
from contextlib import closing, contextmanager

import psutil
import pytest

from tests.integration.test_recipes import blocks, files
from tests.support.cli_tools import Started, pytask, until
from tests.support.servers import start_postgres

psycopg = pytest.importorskip(
    "psycopg", reason="psycopg is not installed: there are no wheels for this platform"
)
pytestmark = pytest.mark.slow

GOOD, BAD = "good", "bad"  # ids of a task with the recipe's remedies, and of one without
CARELESS = """

class Careless(Total):
    class Config:
        NAME = "careless"

    def connect(self):
        return psycopg.connect(DATABASE, application_name=f"task {self.id}", autocommit=True)

    def end_sessions(self):
        pass
"""
GATE = 7
TABLES = f"""
create view sales as select region, 10 as amount
    from unnest(array['{GOOD}', '{BAD}']) region, pg_advisory_xact_lock_shared({GATE});
create table writes (region text, pid int);
create function note() returns trigger language plpgsql as
    $$ begin insert into writes values (new.region, pg_backend_pid()); return new; end $$;
create trigger noted after update of amount on totals for each row execute function note();
"""
SESSIONS = """
select pid, client_port, query from pg_stat_activity
where application_name = %s and wait_event = 'advisory' order by backend_start
"""


class Database:
    """What the tests see and do at the server."""

    def __init__(self, url, connection):
        self.url = url
        self._connection = connection
        (table,) = blocks("postgres", "sql")
        self.ask(table + TABLES)

    def ask(self, statement, *values):
        cursor = self._connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else None

    def close_gate(self):
        self.ask(f"truncate totals, writes; select pg_advisory_lock({GATE})")

    def open_gate(self):
        self.ask(f"select pg_advisory_unlock({GATE})")

    def sessions(self, task_id):
        """pids of all sessions of a task."""
        name = f"task {task_id}"
        return [
            pid for (pid,) in self.ask("select pid from pg_stat_activity where application_name = %s", name)
        ]

    def waiting(self, task_id, words):
        """(pid, port of its client) of a session of that task that waits for a lock in such a statement."""
        rows = self.ask(SESSIONS, f"task {task_id}")
        return next(((pid, port) for pid, port, query in rows if query.strip().startswith(words)), None)

    def at_gate(self, task_id):
        """The session that has the task's lock, and writes as soon as the gate is open."""
        return self.waiting(task_id, "update totals")

    def writers(self, task_id):
        return [pid for (pid,) in self.ask("select pid from writes where region = %s", task_id)]

    def epoch(self, task_id):
        return self.ask("select epoch from totals where region = %s", task_id)[0][0]


@pytest.fixture(scope="module")
def postgres():
    try:
        server = start_postgres()
    except LookupError as error:
        pytest.skip(str(error))
    with server, closing(psycopg.connect(server.url, autocommit=True)) as connection:
        yield Database(server.url, connection)


@pytest.fixture
def database(postgres):
    postgres.close_gate()
    yield postgres
    postgres.ask("select pg_advisory_unlock_all()")


@pytest.fixture
def worker(client, store, database, tmp_path):
    """`worker(*flags)`: `pytask run` of the recipe's file, which has a careless task, too."""

    @contextmanager
    def started(*flags, interval="2s"):
        path = files("postgres", tmp_path)["tasks.py"]
        text = path.read_text()
        set_to = '"client_connection_check_interval": '
        assert f'{set_to}"2s"' in text
        path.write_text(text.replace(f'{set_to}"2s"', f'{set_to}"{interval}"') + CARELESS)
        command = pytask("run", path, "--redis", store.url, *flags)
        with Started(command, tmp_path, DATABASE_URL=database.url) as running:
            running.says("takes tasks from")
            yield running
            assert "Traceback" not in running.output

    return started


def push(client, function, task_id):
    client.hset(task_id, mapping={"function": function, "data": "{}"})
    client.lpush("new-task", task_id)


def push_both(client, database):
    """Both tasks; their sessions at the gate."""
    push(client, "total", GOOD)
    push(client, "careless", BAD)
    return [until(lambda one=one: database.at_gate(one), f"{one} is at the gate") for one in (GOOD, BAD)]


def stop_both(client):
    for task_id in (GOOD, BAD):
        client.publish(f"task-{task_id}-control", "stop")
        settled(client, task_id, "STOPPED")


def settled(client, task_id, state):
    until(lambda: client.hget(task_id, "state") == state, lambda: client.hgetall(task_id))


def test_a_statement_writes_after_the_task_is_stopped_unless_stop_ends_it(client, database, worker):
    with worker():
        _, (bad, _) = push_both(client, database)
        stop_both(client)
        assert database.sessions(GOOD) == []
        assert database.sessions(BAD) == [bad]
        database.open_gate()
        until(lambda: database.writers(BAD) == [bad], "the stopped task writes")
        assert database.writers(GOOD) == []


def test_a_lock_keeps_the_next_run_waiting_unless_stop_ends_the_session(client, database, worker):
    with worker():
        (good, _), (bad, _) = push_both(client, database)
        stop_both(client)
        push(client, "total", GOOD)
        push(client, "careless", BAD)
        next_good, _ = until(lambda: database.at_gate(GOOD), "the next run has the lock")
        next_bad, _ = until(lambda: database.waiting(BAD, "select pg_advisory_lock"), "it waits for the lock")
        assert database.at_gate(BAD)[0] == bad
        assert good != next_good
        # Both next runs have written their epoch, so the statement of the old one changes nothing.
        assert database.epoch(BAD) == int(client.hget(BAD, "epoch"))
        database.open_gate()
        settled(client, GOOD, "ENDED")
        settled(client, BAD, "ENDED")
        assert database.writers(GOOD) == [next_good]
        assert database.writers(BAD) == [next_bad]


def test_the_server_ends_the_statement_of_a_killed_worker_if_it_looks_for_it(client, database, worker):
    with worker(interval="50ms") as running:
        _, (bad, _) = push_both(client, database)
        running.process.kill()
        until(lambda: not database.sessions(GOOD), "the session of the killed worker is gone")
        assert database.sessions(BAD) == [bad]
        database.open_gate()
        until(lambda: database.writers(BAD) == [bad], "the killed worker's statement writes")
        assert database.writers(GOOD) == []


def test_the_run_after_a_killed_one_ends_what_that_left(client, database, worker):
    with worker("--processes=2", interval="0") as running:
        push(client, "total", GOOD)
        pid, port = until(lambda: database.at_gate(GOOD), "the task is at the gate")
        os.kill(owner(running.process.pid, port), signal.SIGKILL)
        until(lambda: (database.at_gate(GOOD) or (pid,))[0] != pid, "the next run has the lock")
        assert len(database.sessions(GOOD)) == 1
        database.open_gate()
        settled(client, GOOD, "ENDED")
        assert len(database.writers(GOOD)) == 1
        assert database.writers(GOOD) != [pid]


def owner(parent, port):
    """The child whose connection has that port."""
    for child in psutil.Process(parent).children():
        if port in {line.laddr.port for line in child.net_connections("tcp4")}:
            return child.pid
    raise LookupError(port)
