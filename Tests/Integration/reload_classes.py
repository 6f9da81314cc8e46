"""Which key each test of a reload is about."""

# Names of keys and their classes. Those of the console are in test_reload.py.
TESTS = {("socket", "restart"), ("mode", "restart"), ("group", "restart")}


def key(name, change):
    """Names the key and the class that a test is about."""

    def noted(test):
        TESTS.add((name, change))
        return test

    return noted
