"""Alerts: from what is announced to messages that people and their tools get.

`desk` takes notices in, `outbox` has one queue and one task for each sink, the others are the sinks.
"""
