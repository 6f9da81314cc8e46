"""Huey, which blocks and schedules by scripts, and Dramatiq, which is all Lua."""


def test_huey(client, spawn):
    import huey_app

    results = [huey_app.add(number, 1) for number in range(5)]
    later = huey_app.add.schedule((20, 22), delay=1)
    spawn("-m", "huey.bin.huey_consumer", "huey_app.huey", "-k", "thread", "-w", "2", "-q")
    assert [result(blocking=True, timeout=30) for result in results] == [1, 2, 3, 4, 5]
    assert later(blocking=True, timeout=30) == 42


def test_dramatiq(client, spawn):
    import dramatiq_app

    messages = [dramatiq_app.add.send(number, 1) for number in range(5)]
    delayed = dramatiq_app.add.send_with_options(args=(20, 22), delay=500)
    spawn("-m", "dramatiq", "dramatiq_app", "--processes", "1", "--threads", "2")
    assert [message.get_result(block=True, timeout=30_000) for message in messages] == [1, 2, 3, 4, 5]
    assert delayed.get_result(block=True, timeout=30_000) == 42
