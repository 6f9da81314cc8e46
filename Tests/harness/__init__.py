"""What the tests stand on: real servers, the real daemon, raw connections to both."""
