"""What the workers of the queues run."""


def add(a, b):
    return a + b


def fail():
    raise ValueError("on purpose")
