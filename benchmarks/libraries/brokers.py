"""Clients of brokers."""

from __future__ import annotations

from benchmarks.libraries.cases import BLOCKING, IMPORT, MISSING, Call, Peers, again, case, wait
from benchmarks.libraries.peers import HOST


@case("paho-mqtt, loop_start()", "paho-mqtt", peer="mqtt", shared=True, do=IMPORT)
def paho(at: Peers) -> Call:
    from paho.mqtt.client import CallbackAPIVersion, Client

    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(100)
    client.connect(HOST, at["mqtt"])
    client.loop_start()

    def call(seconds: float, word: str) -> str:
        sent = client.publish(wait(seconds, word), b"", qos=1)
        sent.wait_for_publish(seconds + 5)
        return word if sent.is_published() else MISSING

    return call


again("paho-mqtt, loop_start() by the first task", "paho-mqtt, loop_start()", made="first use")
again("paho-mqtt, made in pytask.shared()", "paho-mqtt, loop_start()", made="shared", do="")


@case("pika BlockingConnection, one a task", "pika", peer="amqp", do="close it in `finally`")
def pika_blocking(at: Peers) -> Call:
    import pika

    def call(seconds: float, word: str) -> None:
        connection = pika.BlockingConnection(pika.ConnectionParameters(HOST, at["amqp"]))
        connection.channel().queue_declare(wait(seconds, word))
        connection.close()

    return call


@case("kombu Connection, one a task", "kombu", peer="amqp", do="`with Connection(...)`")
def kombu_connection(at: Peers) -> Call:
    from kombu import Connection

    def call(seconds: float, word: str) -> None:
        with Connection(f"amqp://{HOST}:{at['amqp']}") as connection:
            connection.channel().queue_declare(wait(seconds, word))

    return call


@case("stomp.py, a connection a task", "stomp.py", peer="stomp", do="disconnect in `finally`")
def stomp_receipt(at: Peers) -> Call:
    import stomp
    from gevent.event import Event

    class Receipts(stomp.ConnectionListener):
        def __init__(self) -> None:
            self.got = Event()

        def on_receipt(self, frame: stomp.utils.Frame) -> None:
            self.got.set()

    def call(seconds: float, word: str) -> None:
        connection, receipts = stomp.Connection([(HOST, at["stomp"])]), Receipts()
        connection.set_listener("", receipts)
        connection.connect(wait=True)
        try:
            connection.send("/q", wait(seconds, word), headers={"receipt": word})
            receipts.got.wait()
        finally:
            connection.disconnect(receipt=None)

    return call


@case("kafka-python, a producer made by each task", "kafka-python", peer="silent", do="")
def kafka_python(at: Peers) -> Call:
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    def call(seconds: float, word: str) -> None:
        milliseconds = int(seconds * 1000)
        try:
            KafkaProducer(
                bootstrap_servers=f"{HOST}:{at['silent']}", bootstrap_timeout_ms=milliseconds,
                max_block_ms=milliseconds,
            ).send("topic", b"").get(seconds)  # fmt: skip
        except (KafkaError, TypeError, AssertionError) as error:
            if not isinstance(error, KafkaError):
                raise

    return call


@case(
    "confluent-kafka, poll(seconds)",
    "confluent-kafka",
    peer="silent",
    shared=True,
    do=f"`poll(0)` and a sleep, or {BLOCKING}",
)
def confluent(at: Peers) -> Call:
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": f"{HOST}:{at['silent']}", "group.id": "g"})

    def call(seconds: float, word: str) -> None:
        consumer.poll(seconds)

    return call


@case("grpcio", "grpcio", peer="grpc", shared=True, do="`init_gevent()`")
def grpc_plain(at: Peers) -> Call:
    import grpc

    wait_method = grpc.insecure_channel(f"{HOST}:{at['grpc']}").unary_unary("/wait/Wait")
    return lambda seconds, word: wait_method(wait(seconds, word).encode(), timeout=60).decode()


@case("grpcio, init_gevent()", "grpcio", peer="grpc", shared=True, do="the channel at import")
def grpc_gevent(at: Peers) -> Call:
    from grpc.experimental.gevent import init_gevent

    init_gevent()
    return grpc_plain(at)


@case("pyzmq", "pyzmq", peer="zmq", do="`import zmq.green as zmq`")
def zmq_plain(at: Peers) -> Call:
    import zmq

    return _request(zmq, at["zmq"])


@case("pyzmq, zmq.green", "pyzmq", peer="zmq", do="`with` around each socket")
def zmq_green(at: Peers) -> Call:
    import zmq.green

    return _request(zmq.green, at["zmq"])


def _request(zmq: object, port: int) -> Call:
    context = zmq.Context()

    def call(seconds: float, word: str) -> str:
        with context.socket(zmq.REQ) as line:
            line.linger = 0
            line.connect(f"tcp://{HOST}:{port}")
            line.send_string(wait(seconds, word))
            return line.recv_string()

    return call
