"""A small web site whose pages you change while watch_urls.py watches them.

Start it, then create, change and delete pages:

    python examples/local_site.py [port]                        # 8000 by default
    curl -X PUT -d 'Something happened' http://127.0.0.1:8000/news
    curl -X DELETE http://127.0.0.1:8000/news
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

pages = {"/news": b"Nothing happened"}


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        page = pages.get(self.path)
        self.answer(404 if page is None else 200, page or b"no such page\n")

    def do_PUT(self):
        pages[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"kept\n")

    def do_DELETE(self):
        pages.pop(self.path, None)
        self.answer(200, b"gone\n")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = ThreadingHTTPServer(("127.0.0.1", port), Site)
    print(f"http://127.0.0.1:{server.server_port}/news", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
