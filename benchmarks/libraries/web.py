"""HTTP and WebSocket clients, and libraries based on them."""

from __future__ import annotations

from benchmarks.libraries.cases import BLOCKING, IMPORT, MISSING, Call, Peers, again, case, wait
from benchmarks.libraries.peers import HOST


@case("urllib.request", peer="http", do="")
def urllib_request(at: Peers) -> Call:
    from urllib.request import urlopen

    return lambda seconds, word: urlopen(at.url(seconds, word)).read().decode()


@case("http.client, a connection a call", peer="http", do="close it in `finally`")
def http_client(at: Peers) -> Call:
    from contextlib import closing
    from http.client import HTTPConnection

    def call(seconds: float, word: str) -> str:
        with closing(HTTPConnection(HOST, at["http"])) as line:
            line.request("GET", "/" + wait(seconds, word))
            return line.getresponse().read().decode()

    return call


@case("requests.get()", "requests", peer="http", do="")
def requests_get(at: Peers) -> Call:
    import requests

    return lambda seconds, word: requests.get(at.url(seconds, word)).text


@case("requests.Session, one for all", "requests", peer="http", shared=True, do="")
def requests_session(at: Peers) -> Call:
    import requests

    session = requests.Session()
    return lambda seconds, word: session.get(at.url(seconds, word)).text


@case("urllib3.PoolManager, one for all", "urllib3", peer="http", shared=True, do="")
def urllib3_pool(at: Peers) -> Call:
    import urllib3

    pool = urllib3.PoolManager(maxsize=30)
    return lambda seconds, word: pool.request("GET", at.url(seconds, word)).data.decode()


@case("httpx.Client, one for all", "httpx", peer="http", shared=True, do="")
def httpx_client(at: Peers) -> Call:
    import httpx

    client = httpx.Client(timeout=60)
    return lambda seconds, word: client.get(at.url(seconds, word)).text


@case("aiohttp by asyncio.run() in each task", "aiohttp", peer="http", do="`async def start(self)`")
def aiohttp_run(at: Peers) -> Call:
    import asyncio

    import aiohttp

    async def get(url: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    return lambda seconds, word: asyncio.run(get(at.url(seconds, word)))


@case("aiohttp, one loop for all in a thread", "aiohttp", peer="http", shared=True, do=f"{IMPORT}; cancel")
def aiohttp_loop(at: Peers) -> Call:
    import aiohttp

    from benchmarks.libraries.loops import loop_for_all

    run = loop_for_all()
    sessions: list[aiohttp.ClientSession] = []

    async def get(url: str) -> str:
        if not sessions:
            sessions.append(aiohttp.ClientSession())
        async with sessions[0].get(url) as answer:
            return await answer.text()

    return lambda seconds, word: run(get(at.url(seconds, word)))


@case(
    "httpx.AsyncClient, one loop for all in a thread",
    "httpx",
    peer="http",
    shared=True,
    do=f"{IMPORT}; cancel",
)
def httpx_loop(at: Peers) -> Call:
    import httpx

    from benchmarks.libraries.loops import loop_for_all

    run = loop_for_all()
    clients: list[httpx.AsyncClient] = []

    async def get(url: str) -> str:
        if not clients:
            clients.append(httpx.AsyncClient(timeout=60))
        return (await clients[0].get(url)).text

    return lambda seconds, word: run(get(at.url(seconds, word)))


@case("pycurl", "pycurl", peer="http", do=BLOCKING)
def pycurl_perform(at: Peers) -> Call:
    from io import BytesIO

    import pycurl

    def call(seconds: float, word: str) -> str:
        body, curl = BytesIO(), pycurl.Curl()
        curl.setopt(curl.URL, at.url(seconds, word))
        curl.setopt(curl.WRITEDATA, body)
        curl.perform()
        curl.close()
        return body.getvalue().decode()

    return call


@case("curl_cffi", "curl_cffi", peer="http", do='`Session(thread="gevent")`')
def curl_plain(at: Peers) -> Call:
    from curl_cffi import requests

    return lambda seconds, word: requests.get(at.url(seconds, word)).text


@case('curl_cffi, Session(thread="gevent")', "curl_cffi", peer="http", do="")
def curl_gevent(at: Peers) -> Call:
    from curl_cffi import requests

    def call(seconds: float, word: str) -> str:
        with requests.Session(thread="gevent") as session:
            return session.get(at.url(seconds, word)).text

    return call


@case(
    "websocket-client, a connection a task", "websocket-client", peer="websocket", do="close it in `finally`"
)
def websocket_client(at: Peers) -> Call:
    import websocket

    def call(seconds: float, word: str) -> str:
        line = websocket.create_connection(f"ws://{HOST}:{at['websocket']}")
        try:
            line.send(wait(seconds, word))
            return line.recv()
        finally:
            line.close(timeout=0)

    return call


@case("websockets (sync), a connection a task", "websockets", peer="websocket", do="`with connect(...)`")
def websockets_sync(at: Peers) -> Call:
    from websockets.sync.client import connect

    def call(seconds: float, word: str) -> str:
        with connect(f"ws://{HOST}:{at['websocket']}") as line:
            line.send(wait(seconds, word))
            return line.recv()

    return call


@case("feedparser", "feedparser", peer="http", do="")
def feedparser_parse(at: Peers) -> Call:
    import feedparser

    return lambda seconds, word: feedparser.parse(at.url(seconds, word, "/feed")).feed.title


@case("boto3 (S3), one client for all", "boto3", peer="http", shared=True, do="")
def boto3_s3(at: Peers) -> Call:
    import boto3
    from botocore.config import Config

    s3 = boto3.client(
        "s3", endpoint_url=f"http://{HOST}:{at['http']}", region_name="here", aws_access_key_id="k",
        aws_secret_access_key="s", config=Config(max_pool_connections=30, s3={"addressing_style": "path"}),
    )  # fmt: skip
    return lambda seconds, word: s3.get_object(Bucket="b", Key=wait(seconds, word))["Body"].read().decode()


@case("slack_sdk WebClient", "slack_sdk", peer="http", shared=True, do="")
def slack_web(at: Peers) -> Call:
    from slack_sdk import WebClient

    client = WebClient("t", base_url=f"http://{HOST}:{at['http']}/json/", timeout=60)
    return lambda seconds, word: client.api_call("a", data={"text": wait(seconds, word)})["text"]


@case("pyTelegramBotAPI", "pyTelegramBotAPI", peer="http", shared=True, do="")
def telebot_send(at: Peers) -> Call:
    import telebot

    telebot.apihelper.API_URL = f"http://{HOST}:{at['http']}/json/{{0}}/{{1}}"
    bot = telebot.TeleBot("1:t", threaded=False)
    return lambda seconds, word: bot.send_message(1, wait(seconds, word)).text


@case(
    "python-telegram-bot, one loop for all in a thread", "python-telegram-bot", peer="http", shared=True,
    do=f"{IMPORT}; cancel",
)  # fmt: skip
def telegram_bot(at: Peers) -> Call:
    import telegram
    from telegram.request import HTTPXRequest

    from benchmarks.libraries.loops import loop_for_all

    run = loop_for_all()
    request = HTTPXRequest(connection_pool_size=30, read_timeout=60)
    bot = telegram.Bot("1:t", base_url=f"http://{HOST}:{at['http']}/json/bot", request=request)

    async def send(text: str) -> str:
        return (await bot.send_message(1, text)).text

    return lambda seconds, word: run(send(wait(seconds, word)))


@case("sentry-sdk", "sentry-sdk", peer="http", shared=True, do="`init()` at import")
def sentry(at: Peers) -> Call:
    import gevent
    import sentry_sdk

    sentry_sdk.init(f"http://k@{HOST}:{at['http']}/1")

    def call(seconds: float, word: str) -> str:
        sentry_sdk.capture_message(f"seen {word}")
        gevent.sleep(seconds)
        sentry_sdk.flush(5)
        return arrived(at, word)

    return call


again("sentry-sdk, init() by the first task", "sentry-sdk", made="first use")


@case(
    "OpenTelemetry, BatchSpanProcessor", "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http",
    peer="http", shared=True, do=IMPORT,
)  # fmt: skip
def opentelemetry(at: Peers) -> Call:
    import gevent
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"http://{HOST}:{at['http']}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    tracer = provider.get_tracer("t")

    def call(seconds: float, word: str) -> str:
        with tracer.start_as_current_span(f"seen {word}"):
            gevent.sleep(seconds)
        gevent.sleep(0.5)
        return arrived(at, word)

    return call


again(
    "OpenTelemetry, BatchSpanProcessor made by the first task", "OpenTelemetry, BatchSpanProcessor",
    made="first use",
)  # fmt: skip
again(
    "OpenTelemetry, made in pytask.shared()",
    "OpenTelemetry, BatchSpanProcessor",
    made="shared",
    do="",
)


@case("prometheus-client, start_http_server()", "prometheus-client", shared=True, do=IMPORT)
def prometheus(at: Peers) -> Call:
    from urllib.request import urlopen

    import gevent
    from prometheus_client import Counter, start_http_server

    server, _ = start_http_server(0, HOST)
    counter = Counter("calls", "Calls", ["word"])

    def call(seconds: float, word: str) -> str:
        counter.labels(word).inc()
        gevent.sleep(seconds)
        text = urlopen(f"http://{HOST}:{server.server_port}/metrics").read().decode()
        return word if f'word="{word}"' in text else MISSING

    return call


def arrived(at: Peers, word: str) -> str:
    """The word, if the HTTP server received it."""
    from urllib.request import urlopen

    seen = urlopen(f"http://{HOST}:{at['http']}/saw/{word}").read()
    return word if seen == b"True" else MISSING
