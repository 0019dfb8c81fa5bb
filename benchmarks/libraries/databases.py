"""Databases and caches."""

from __future__ import annotations

from benchmarks.libraries.cases import BLOCKING, IMPORT, Call, Peers, again, case, wait
from benchmarks.libraries.peers import HOST

SQL = "select %s::text from pg_sleep(%s)"
CANCEL = "cancel in `stop()`"


def dsn(at: Peers) -> str:
    return f"host={HOST} port={at['postgres']} user=postgres dbname=postgres"


@case("psycopg, a connection a task", "psycopg psycopg-binary", peer="postgres", do=CANCEL)
def psycopg_connect(at: Peers) -> Call:
    import psycopg

    def call(seconds: float, word: str) -> str:
        with psycopg.connect(dsn(at), autocommit=True) as line:
            return line.execute(SQL, [word, seconds]).fetchone()[0]

    return call


@case(
    "psycopg_pool",
    "psycopg-pool psycopg psycopg-binary",
    peer="postgres",
    shared=True,
    do=f"{IMPORT}; {CANCEL}",
)
def psycopg_pool(at: Peers) -> Call:
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(dsn(at), min_size=20, max_size=30, kwargs={"autocommit": True}, open=True)

    def call(seconds: float, word: str) -> str:
        with pool.connection(timeout=5) as line:
            return line.execute(SQL, [word, seconds]).fetchone()[0]

    return call


again("psycopg_pool, made by the first task", "psycopg_pool", made="first use")
again("psycopg_pool, made in pytask.shared()", "psycopg_pool", made="shared", do=CANCEL)


@case("psycopg2", "psycopg2-binary", peer="postgres", do="a wait callback, or psycopg")
def psycopg2_plain(at: Peers) -> Call:
    from contextlib import closing

    import psycopg2

    def call(seconds: float, word: str) -> str:
        with closing(psycopg2.connect(dsn(at))) as line, line.cursor() as cursor:
            cursor.execute(SQL, [word, seconds])
            return cursor.fetchone()[0]

    return call


@case("psycopg2, set_wait_callback()", "psycopg2-binary", peer="postgres", do=CANCEL)
def psycopg2_callback(at: Peers) -> Call:
    from gevent.socket import wait_read, wait_write
    from psycopg2 import extensions

    def wait_callback(line: extensions.connection) -> None:
        while (state := line.poll()) != extensions.POLL_OK:
            (wait_read if state == extensions.POLL_READ else wait_write)(line.fileno())

    extensions.set_wait_callback(wait_callback)
    return psycopg2_plain(at)


@case(
    "pg8000, a connection a task",
    "pg8000",
    peer="postgres",
    do=f"a context for all, or `ssl_context=False`; {CANCEL}",
)
def pg8000_native(at: Peers) -> Call:
    import pg8000.native

    def call(seconds: float, word: str) -> str:
        line = pg8000.native.Connection("postgres", HOST, port=at["postgres"])
        try:
            return line.run("select cast(:w as text) from pg_sleep(:s)", w=word, s=seconds)[0][0]
        finally:
            line.close()

    return call


@case(
    "asyncpg, one loop for all in a thread", "asyncpg", peer="postgres", shared=True, do=f"{IMPORT}; cancel"
)
def asyncpg_pool(at: Peers) -> Call:
    import asyncpg

    from benchmarks.libraries.loops import loop_for_all

    run = loop_for_all()
    url = f"postgresql://postgres@{HOST}:{at['postgres']}/postgres"

    async def connect() -> asyncpg.Pool:
        return await asyncpg.create_pool(url, min_size=20, max_size=30)

    pool = run(connect())
    sql = "select $1::text from pg_sleep($2)"
    return lambda seconds, word: run(pool.fetchval(sql, word, seconds))


@case(
    "SQLAlchemy over psycopg, one engine",
    "SQLAlchemy psycopg psycopg-binary",
    peer="postgres",
    shared=True,
    do=CANCEL,
)
def sqlalchemy_psycopg(at: Peers) -> Call:
    from sqlalchemy import create_engine

    url = f"postgresql+psycopg://postgres@{HOST}:{at['postgres']}/postgres"
    return _engine(create_engine(url, pool_size=30), SQL)


@case("SQLAlchemy over PyMySQL, one engine", "SQLAlchemy PyMySQL", peer="mysql", shared=True, do="")
def sqlalchemy_pymysql(at: Peers) -> Call:
    from sqlalchemy import create_engine

    return _engine(create_engine(f"mysql+pymysql://root@{HOST}:{at['mysql']}/words", pool_size=30), None)


def _engine(engine: object, sql: str | None) -> Call:
    def call(seconds: float, word: str) -> str:
        with engine.connect() as line:
            if sql is None:
                return line.exec_driver_sql(
                    f"select word from words where asked = '{wait(seconds, word)}'"
                ).scalar()
            return line.exec_driver_sql(sql, (word, seconds)).scalar()

    return call


@case("PyMySQL, a connection a task", "PyMySQL", peer="mysql", do="a context for all, or `ssl_disabled=True`")
def pymysql_connect(at: Peers) -> Call:
    import pymysql

    def call(seconds: float, word: str) -> str:
        with pymysql.connect(host=HOST, port=at["mysql"], user="root") as line, line.cursor() as cursor:
            cursor.execute(f"select word from words where asked = '{wait(seconds, word)}'")
            return cursor.fetchone()[0]

    return call


@case("mysql-connector-python, use_pure=True", "mysql-connector-python", peer="mysql", do="`with` around it")
def mysql_pure(at: Peers) -> Call:
    import mysql.connector

    def call(seconds: float, word: str) -> str:
        with mysql.connector.connect(
            host=HOST, port=at["mysql"], user="root", use_pure=True, ssl_disabled=True
        ) as line:
            cursor = line.cursor()
            cursor.execute(f"select word from words where asked = '{wait(seconds, word)}'")
            return cursor.fetchall()[0][0]

    return call


@case("peewee over PyMySQL", "peewee PyMySQL", peer="mysql", do="`with db:`")
def peewee_mysql(at: Peers) -> Call:
    from peewee import MySQLDatabase

    db = MySQLDatabase("words", host=HOST, port=at["mysql"], user="root")

    def call(seconds: float, word: str) -> str:
        with db.connection_context():
            return db.execute_sql(f"select word from words where asked = '{wait(seconds, word)}'").fetchone()[
                0
            ]

    return call


@case("PyMongo, one client for all", "pymongo", peer="mongo", shared=True, do=IMPORT)
def pymongo_client(at: Peers) -> Call:
    from pymongo import MongoClient
    from pymongo.server_api import ServerApi

    client = MongoClient(HOST, at["mongo"], server_api=ServerApi("1"))
    client.admin.command("ping")
    return lambda seconds, word: client.admin.command("ping", comment=wait(seconds, word))["word"]


again("PyMongo, made by the first task", "PyMongo, one client for all", made="first use")


@case("redis-py, one client for all", "redis", peer="redis", shared=True, do="")
def redis_client(at: Peers) -> Call:
    import redis

    return _pop(redis.Redis(HOST, at["redis"], decode_responses=True, socket_timeout=None))


@case("valkey-py, one client for all", "valkey", peer="redis", shared=True, do="")
def valkey_client(at: Peers) -> Call:
    import valkey

    return _pop(valkey.Valkey(HOST, at["redis"], decode_responses=True))


def _pop(client: object) -> Call:
    def call(seconds: float, word: str) -> str:
        client.blpop(f"none-{word}", timeout=seconds)
        return client.echo(word)

    return call


@case("pymemcache PooledClient", "pymemcache", peer="memcached", shared=True, do="a client a task")
def pymemcache_pooled(at: Peers) -> Call:
    from pymemcache.client.base import PooledClient

    client = PooledClient((HOST, at["memcached"]), max_pool_size=30)
    return lambda seconds, word: client.get(wait(seconds, word)).decode()


@case("pymemcache Client, one a task", "pymemcache", peer="memcached", do="close it in `finally`")
def pymemcache_client(at: Peers) -> Call:
    from contextlib import closing

    from pymemcache.client.base import Client

    def call(seconds: float, word: str) -> str:
        with closing(Client((HOST, at["memcached"]))) as client:
            return client.get(wait(seconds, word)).decode()

    return call


@case("pylibmc", "pylibmc", peer="memcached", do=f"{BLOCKING}, or pymemcache")
def pylibmc_client(at: Peers) -> Call:
    import pylibmc

    def call(seconds: float, word: str) -> str:
        return pylibmc.Client([f"{HOST}:{at['memcached']}"], behaviors={"receive_timeout": 60_000_000}).get(
            wait(seconds, word)
        )

    return call


@case("sqlite3, waiting for a lock", do="a short `timeout`, and try again")
def sqlite_busy(at: Peers) -> Call:
    import sqlite3

    path = at.folder / "busy.sqlite"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("create table if not exists t (n)")
    holder.execute("begin exclusive")

    def call(seconds: float, word: str) -> None:
        line = sqlite3.connect(path, timeout=seconds)
        try:
            line.execute("insert into t values (1)")
        except sqlite3.OperationalError:
            return
        finally:
            line.close()
        assert holder.in_transaction, "the lock is held"

    return call


@case("duckdb", "duckdb", work=True, do=BLOCKING)
def duckdb_query(at: Peers) -> Call:
    import duckdb

    def call(seconds: float, word: str) -> None:
        with duckdb.connect() as line:
            line.execute("set threads = 1")
            line.execute("select sum(sqrt(range)) from range(40000000)").fetchall()

    return call
