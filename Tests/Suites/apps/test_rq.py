"""RQ: its worker blocks for jobs, watches and commits, listens on a channel for commands."""

from datetime import timedelta

import pytest
from rq import Queue
from rq.command import send_shutdown_command
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from rq.worker import Worker

import jobs


@pytest.fixture
def worker(client, spawn, url, eventually):
    process = spawn("-m", "rq.cli", "worker", "--url", url, "--with-scheduler", "--quiet")
    eventually(lambda: Worker.count(connection=client) == 1 or process.poll())
    assert process.poll() is None
    return process


def test_jobs_run_and_fail(client, worker, eventually):
    queue = Queue(connection=client)
    made = [queue.enqueue(jobs.add, number, 1) for number in range(5)]
    failing = queue.enqueue(jobs.fail)
    eventually(lambda: failing.get_status(refresh=True) == "failed")
    assert [job.return_value(refresh=True) for job in made] == [1, 2, 3, 4, 5]
    assert failing.id in FailedJobRegistry(queue=queue).get_job_ids()
    assert "on purpose" in failing.latest_result().exc_string


def test_scheduled_job_runs(client, worker, eventually):
    queue = Queue(connection=client)
    job = queue.enqueue_in(timedelta(seconds=1), jobs.add, 20, 22)
    assert job.id in ScheduledJobRegistry(queue=queue).get_job_ids()
    eventually(lambda: Job.fetch(job.id, connection=client).get_status() == "finished")
    assert job.return_value(refresh=True) == 42


def test_worker_obeys_pubsub_command(client, worker, eventually):
    name = eventually(lambda: [made.name for made in Worker.all(connection=client)])[0]
    eventually(lambda: client.pubsub_numsub(f"rq:pubsub:{name}")[0][1] == 1)
    send_shutdown_command(client, name)
    # How it ends depends on where the signal that it sends itself finds it.
    eventually(lambda: worker.poll() is not None)
