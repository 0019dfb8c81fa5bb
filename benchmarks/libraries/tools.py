"""Threads, processes, timers and computing libraries."""

from __future__ import annotations

from benchmarks.libraries.cases import BLOCKING, IMPORT, Call, Peers, again, case


@case("ThreadPoolExecutor, one for all", shared=True, do=IMPORT)
def thread_pool(at: Peers) -> Call:
    import time
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(30)

    def work(seconds: float, word: str) -> str:
        time.sleep(seconds)
        return word

    return lambda seconds, word: pool.submit(work, seconds, word).result()


again("ThreadPoolExecutor, made by the first task", "ThreadPoolExecutor, one for all", made="first use")


@case("threading.Thread, joined", do="")
def thread(at: Peers) -> Call:
    import threading
    import time

    def call(seconds: float, word: str) -> None:
        one = threading.Thread(target=time.sleep, args=[seconds])
        one.start()
        one.join()

    return call


@case("subprocess.run()", do="")
def subprocess_run(at: Peers) -> Call:
    import subprocess

    def call(seconds: float, word: str) -> str:
        done = subprocess.run(
            ["sh", "-c", 'sleep "$0"; echo "$1"', str(seconds), word],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return call


@case("os.system()", do="`subprocess.run`")
def os_system(at: Peers) -> Call:
    import os

    def call(seconds: float, word: str) -> None:
        os.system(f"sleep {seconds}")

    return call


@case("pexpect.spawn", "pexpect", do="`subprocess`")
def pexpect_spawn(at: Peers) -> Call:
    import pexpect

    def call(seconds: float, word: str) -> str:
        child = pexpect.spawn("sh", ["-c", f"sleep {seconds}; echo {word}"], encoding="utf-8", timeout=60)
        try:
            child.expect(pexpect.EOF)
            return child.before.strip()
        finally:
            child.close(force=True)

    return call


@case("pexpect PopenSpawn", "pexpect", do="`subprocess`")
def pexpect_popen(at: Peers) -> Call:
    import pexpect
    from pexpect.popen_spawn import PopenSpawn

    def call(seconds: float, word: str) -> str:
        child = PopenSpawn(["sh", "-c", f"sleep {seconds}; echo {word}"], encoding="utf-8", timeout=60)
        child.expect(pexpect.EOF)
        return child.before.strip()

    return call


@case("multiprocessing.Process, joined", do="`subprocess.run`")
def process(at: Peers) -> Call:
    import multiprocessing
    import time

    context = multiprocessing.get_context("spawn")

    def call(seconds: float, word: str) -> None:
        one = context.Process(target=time.sleep, args=[seconds])
        one.start()
        one.join()

    return call


@case("multiprocessing.Pool, one for all", shared=True, do="ThreadPoolExecutor, or `subprocess.run`")
def process_pool(at: Peers) -> Call:
    import multiprocessing
    import time

    pools = []

    def call(seconds: float, word: str) -> None:
        if not pools:
            pools.append(multiprocessing.get_context("spawn").Pool(4))
        pools[0].apply(time.sleep, [seconds])

    return call


@case("APScheduler BackgroundScheduler", "APScheduler", shared=True, do=IMPORT)
def apscheduler(at: Peers) -> Call:
    import datetime as dt
    from queue import Queue

    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler({"apscheduler.timezone": "UTC"})
    scheduler.start()

    def call(seconds: float, word: str) -> str:
        received: Queue[str] = Queue()
        at_time = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        scheduler.add_job(received.put, "date", run_date=at_time, args=[word])
        return received.get(timeout=seconds + 5)

    return call


again("APScheduler, started by the first task", "APScheduler BackgroundScheduler", made="first use")


@case("schedule", "schedule", do="")
def schedule_loop(at: Peers) -> Call:
    import time

    import schedule

    def call(seconds: float, word: str) -> str:
        received: list[str] = []
        jobs = schedule.Scheduler()
        jobs.every(seconds).seconds.do(lambda: received.append(word))
        while not received:
            jobs.run_pending()
            time.sleep(0.01)
        return received[0]

    return call


@case("tenacity", "tenacity", do="no `retry_if_exception_type(BaseException)`")
def tenacity_retry(at: Peers) -> Call:
    import tenacity

    def call(seconds: float, word: str) -> str:
        waits = tenacity.wait_fixed(seconds)
        for attempt in tenacity.Retrying(wait=waits, stop=tenacity.stop_after_attempt(2)):
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise OSError("the first")
        return word

    return call


@case("watchdog Observer", "watchdog", shared=True, do=IMPORT)
def watchdog_observer(at: Peers) -> Call:
    import time
    from queue import Queue

    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    received: dict[str, Queue[str]] = {}
    folder = at.folder / "watched"
    folder.mkdir(exist_ok=True)

    class Handler(FileSystemEventHandler):
        def on_created(self, event: FileSystemEvent) -> None:
            name = event.src_path.rpartition("/")[2]
            if name in received:
                received[name].put(name)

    observer = Observer()
    observer.schedule(Handler(), str(folder))
    observer.start()

    def call(seconds: float, word: str) -> str:
        queue = received[word] = Queue()
        time.sleep(seconds)
        (folder / word).touch()
        return queue.get(timeout=5)

    return call


again("watchdog Observer, started by the first task", "watchdog Observer", made="first use")


@case("watchfiles.watch()", "watchfiles", do=f"watchdog, or {BLOCKING}")
def watchfiles_watch(at: Peers) -> Call:
    from watchfiles import watch

    def call(seconds: float, word: str) -> None:
        next(watch(at.folder, rust_timeout=int(seconds * 1000), yield_on_timeout=True))

    return call


@case("BeautifulSoup over lxml, a page of 1 MB", "beautifulsoup4 lxml", work=True, do=BLOCKING)
def soup(at: Peers) -> Call:
    from bs4 import BeautifulSoup

    page = "<html><body>" + "<p class='a'>text <a href='/x'>link</a></p>" * 25_000 + "</body></html>"
    return lambda seconds, word: BeautifulSoup(page, "lxml") and None


@case("lxml, a document of 20 MB", "lxml", work=True, do=BLOCKING)
def lxml_parse(at: Peers) -> Call:
    from lxml import etree

    text = b"<r>" + b"<p class='a'>text <a href='/x'>link</a></p>" * 450_000 + b"</r>"
    return lambda seconds, word: etree.fromstring(text, etree.XMLParser(huge_tree=True)) and None


@case("numpy.linalg.svd, 600 x 600", "numpy", work=True, do=BLOCKING)
def numpy_svd(at: Peers) -> Call:
    import numpy as np

    matrix = np.random.default_rng(1).random((600, 600))

    def call(seconds: float, word: str) -> None:
        np.linalg.svd(matrix)

    return call


@case("pandas.read_csv, 20 MB", "pandas", work=True, do=BLOCKING)
def pandas_csv(at: Peers) -> Call:
    import io

    import pandas as pd

    text = "a,b,c\n" + "1,2.5,word\n" * 1_800_000
    return lambda seconds, word: pd.read_csv(io.StringIO(text)).empty or None


@case("Pillow, resize of 48 megapixels", "pillow", work=True, do=BLOCKING)
def pillow_resize(at: Peers) -> Call:
    from PIL import Image

    image = Image.new("RGB", (8000, 6000))
    return lambda seconds, word: image.resize((3000, 2000), Image.Resampling.LANCZOS) and None


@case("cryptography, Scrypt", "cryptography", work=True, do=BLOCKING)
def scrypt(at: Peers) -> Call:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return lambda seconds, word: Scrypt(salt=b"s" * 16, length=32, n=2**17, r=8, p=1).derive(b"p") and None
