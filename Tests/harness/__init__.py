"""The parts that all tests share: real servers, the real daemon, raw connections to both."""
