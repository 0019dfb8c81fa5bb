"""The shortest pytask program: it prints its data every ten seconds.

With a Redis on 127.0.0.1:6379:

    python examples/synopsis.py
    redis-cli HMSET greeting function test-task data '{"text": "hello"}'
    redis-cli LPUSH new-task greeting
    redis-cli PUBLISH task-greeting-control stop
"""

from gevent import monkey

monkey.patch_all()  # before the other imports, so that their blocking calls let other tasks run

import gevent  # noqa: E402
import redis  # noqa: E402

from pytask import Monitor, PyTask, Task, run_loop  # noqa: E402

# Create pytask and pass it a Redis instance
task_app = PyTask(redis.StrictRedis())


# A custom task
class MyTask(Task):
    class Config:
        NAME = "test-task"

    # Configure/prepare the task
    def __init__(self, task_data):
        self.task_data = task_data

    # Start the task
    def start(self):
        self.loop = gevent.spawn(run_loop, self.loop, 10)

    # Do some work
    def loop(self):
        print(self.task_data, flush=True)

    # Stop the task
    def stop(self):
        self.loop.kill()


task_app.add_task(MyTask)

# Take over the tasks of workers that died
task_app.add_task(Monitor)
task_app.pre_start_task("pytask/monitor")

task_app.run()
