"""Each run has its own connections to the databases, also as a coroutine, and none is left afterwards."""

import pytest

from tests.django.conftest import Site
from tests.support.cli_tools import until
from tests.support.servers import start_postgres

pytest.importorskip(
    "django.tasks",
    reason="Django 6 needs Python 3.12: test_newer_python.py runs these with one, if there is one",
)
pytestmark = pytest.mark.slow
RUNS = 8


@pytest.fixture(scope="module")
def postgres():
    psycopg = pytest.importorskip("psycopg", reason="psycopg has no wheels for this platform")
    try:
        server = start_postgres()
    except LookupError as error:
        pytest.skip(str(error))
    with server, psycopg.connect(server.url, autocommit=True) as connection:
        yield server, connection


@pytest.fixture
def postgres_site(store, client, tmp_path, postgres):
    server, connection = postgres
    connection.execute("drop table if exists shop_note")
    default = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": server.host,
        "PORT": server.port,
        "CONN_MAX_AGE": 600,  # connections that are kept would be those of greenlets that are gone
        "OPTIONS": {"application_name": "site"},
    }
    made = Site(store, tmp_path, {"default": default})
    made.migrate()
    return made


def sessions(connection):
    rows = connection.execute("select pid from pg_stat_activity where application_name = 'site'")
    return [pid for (pid,) in rows]


def meet(site):
    return site.json(
        f"""
        made = [note.enqueue(str(n), {str(site.folder)!r}, {RUNS}) for n in range({RUNS})]
        say([shown(over(one)) for one in made])
        """
    )


def test_runs_that_overlap_have_a_connection_each_and_leave_none(postgres_site, postgres):
    _, connection = postgres
    with postgres_site.worker():
        found = meet(postgres_site)
        assert [one["status"] for one in found] == ["SUCCESSFUL"] * RUNS, found
        rows = connection.execute("select session from shop_note").fetchall()
        assert len(set(rows)) == RUNS  # all were open at the same time, each in its own session
        until(lambda: not sessions(connection), "no session is left")


def test_coroutines_query_and_leave_no_connection(postgres_site, postgres):
    _, connection = postgres
    with postgres_site.worker():
        found = postgres_site.json(
            f"say([shown(over(one)) for one in [note_async.enqueue(str(n)) for n in range({RUNS})]])"
        )
        assert [one["value"][1] for one in found] == [1] * RUNS
        until(lambda: not sessions(connection), "no session is left")


def test_a_stopped_run_leaves_no_connection(postgres_site, postgres, client, settled):
    _, connection = postgres
    with postgres_site.worker():
        folder = str(postgres_site.folder)
        task_id = postgres_site.run(f"print(note.enqueue('alone', {folder!r}, 2).id)").strip()
        until((postgres_site.folder / "alone.here").exists, "it has its connection")
        assert sessions(connection)
        client.publish(f"task-{task_id}-control", "stop")
        settled(task_id, "STOPPED")
        until(lambda: not sessions(connection), "no session is left")


def test_a_file_of_sqlite(site):
    site.migrate()
    with site.worker():
        found = meet(site)
        assert [one["status"] for one in found] == ["SUCCESSFUL"] * RUNS, found
        assert site.json("say(Note.objects.values_list('session').distinct().count())") == RUNS
