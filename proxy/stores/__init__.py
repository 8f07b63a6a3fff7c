"""Stores: state and audit in one commit, in memory or in SQLite. They know values, not rollout rules."""
