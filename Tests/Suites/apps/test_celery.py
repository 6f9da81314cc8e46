"""Celery: BRPOP over several queues, results by pub/sub, chords, remote control."""

import pytest
from celery import chord, group

import celery_app


@pytest.fixture
def worker(client, spawn, eventually):
    command = ["-m", "celery", "-A", "celery_app", "worker", "--concurrency", "2"]
    process = spawn(*command, "--loglevel", "INFO")
    inspect = celery_app.app.control.inspect(timeout=0.5)
    eventually(lambda: inspect.ping() or process.poll() is not None)
    assert process.poll() is None
    yield process
    celery_app.app.pool.force_close_all()


def test_tasks_results_chords_and_control(worker):
    results = [celery_app.add.delay(number, 1) for number in range(10)]
    assert [result.get(timeout=20) for result in results] == list(range(1, 11))
    assert celery_app.third_time.delay().get(timeout=20) == 2
    with pytest.raises(ValueError, match="on purpose"):
        celery_app.fail.delay().get(timeout=20)
    assert group(celery_app.add.s(i, i) for i in range(4))().get(timeout=20) == [0, 2, 4, 6]
    total = chord(celery_app.add.s(i, 0) for i in range(2))(celery_app.add.si(40, 2))
    assert total.get(timeout=20) == 42
    stats = celery_app.app.control.inspect(timeout=2).stats()
    assert len(stats) == 1 and next(iter(stats.values()))["total"]["celery_app.add"] >= 17
