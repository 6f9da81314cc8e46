"""A short riot: see riot.py. The long one is by hand."""

import os
import pathlib
import subprocess
import sys

import pytest

RIOT = pathlib.Path(__file__).with_name("riot.py")


@pytest.mark.alone
@pytest.mark.parametrize("threads", [1, 2])
def test_riot(full, threads):
    minutes, seed = 10 if full else 0.25, os.environ.get("REDPOOL_SEED", "1")
    done = subprocess.run(
        [sys.executable, str(RIOT), "--minutes", str(minutes), "--threads", str(threads)]
        + ["--seed", seed],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=minutes * 60 + 400,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:]
