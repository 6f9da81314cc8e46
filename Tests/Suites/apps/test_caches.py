"""Web frameworks: a Flask session and Django's cache."""

import flask
import redis
from flask_session import Session


def test_flask_session(client, url):
    app = flask.Flask("suite")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(url))
    Session(app)

    @app.route("/")
    def count():
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    first, second = app.test_client(), app.test_client()
    assert [first.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert second.get("/").text == "1"
    assert len(list(client.scan_iter("session:*"))) == 2


def test_django_cache(client, url):
    import django
    from django.conf import settings

    backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    settings.configure(CACHES={"default": backend})
    django.setup()
    from django.core.cache import cache

    cache.set_many({f"key{number}": {"value": number} for number in range(50)}, timeout=60)
    assert cache.get_many(["key3", "key4"]) == {"key3": {"value": 3}, "key4": {"value": 4}}
    assert cache.add("key3", 1) is False
    assert cache.incr(cache.set("counter", 1) and "counter", 5) == 6
    assert 0 < cache.ttl("key7") <= 60
    with cache.lock("lock", timeout=5):
        assert client.exists(":1:lock") == 1
    assert cache.delete_pattern("key*") == 50
    cache.close()
