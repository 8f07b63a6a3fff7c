"""Stores: state and audit in one commit, in memory, in SQLite or in Redis. They know values, not rollout
rules."""
