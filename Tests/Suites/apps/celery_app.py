"""A Celery application with Redis as broker and as result backend."""

import os

from celery import Celery

URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}"
app = Celery("celery_app", broker=f"{URL}/1", backend=f"{URL}/2")
app.conf.broker_connection_retry_on_startup = True


@app.task
def add(a, b):
    return a + b


@app.task
def fail():
    raise ValueError("on purpose")


@app.task(bind=True, max_retries=2)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries
