"""A Huey application."""

import os

from huey import RedisHuey

huey = RedisHuey("suite", port=int(os.environ["REDIS_PORT"]), blocking=True)


@huey.task()
def add(a, b):
    return a + b
