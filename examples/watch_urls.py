"""Watch web pages: an event when the content of one changes, when it goes down, and when it is up again.

Run each line in its own terminal:

    python examples/local_site.py                               # a small site for this example
    pytask run examples/watch_urls.py
    redis-cli PSUBSCRIBE 'task-*'

Then start the task, and change the page:

    redis-cli HMSET news function watch-urls data '{"urls": ["http://127.0.0.1:8000/news"], "interval": 2}'
    redis-cli LPUSH new-task news
    curl -X PUT -d 'Something happened' http://127.0.0.1:8000/news
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from functools import partial

import attrs

from pytask import Task, run_loop

TIMEOUT = 10  # seconds for an answer


@attrs.frozen
class Watched:
    """The task's data; data that does not fit is refused before the task starts."""

    urls: list[str]
    interval: float = 60.0  # seconds


class WatchUrls(Task):
    class Config:
        NAME = "watch-urls"
        DATA = Watched

    def __init__(self, watched):
        self.watched = watched
        # The last result is kept in Redis, so the worker that runs this task next continues from there.
        self.memory = f"watch-urls:{self.id}"

    def start(self):
        # One greenlet per page, so that a slow page does not delay the others. They end with the task.
        for url in self.watched.urls:
            self.spawn(run_loop, partial(self.look, url), self.watched.interval)

    def look(self, url):
        status, digest = fetch(url)
        seen = status if digest is None else digest
        before = self.redis.hget(self.memory, url)
        before = before.decode() if isinstance(before, bytes) else before
        if seen == before:
            return
        self.redis.hset(self.memory, url, seen)
        if digest is None:
            self.emit("down", {"url": url, "status": status})
        elif before is None or before.startswith("down"):
            self.emit("up", {"url": url, "status": status, "sha256": digest})
        else:
            self.emit("changed", {"url": url, "status": status, "sha256": digest})


def fetch(url):
    """Return status and SHA-256 of the content; for a page that is down, the reason and None."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return answer.status, hashlib.sha256(answer.read()).hexdigest()
    except urllib.error.HTTPError as error:
        return f"down: {error.code} {error.reason}", None
    except (OSError, http.client.HTTPException) as error:
        return f"down: {error}", None
