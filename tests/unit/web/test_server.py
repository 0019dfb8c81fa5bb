"""The server: who is served when."""

import socket

import gevent

from pytask.web.server import Server

MANY = 200


def test_a_browser_that_sends_many_requests_at_once_does_not_keep_others_waiting():
    asked = []

    def answer(environ, start):
        asked.append(environ["PATH_INFO"])
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = Server(("127.0.0.1", 0), answer, log=None)
    server.start()
    try:
        with (
            socket.create_connection(server.address) as greedy,
            socket.create_connection(server.address) as other,
        ):
            greedy.sendall(b"GET /many HTTP/1.1\r\nHost: x\r\n\r\n" * MANY)
            other.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n")
            with gevent.Timeout(30):
                while len(asked) <= MANY:
                    gevent.sleep(0)
    finally:
        server.stop()
    assert asked.index("/one") < MANY / 2
