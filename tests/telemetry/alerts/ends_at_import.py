"""A module of a user's that takes its import for the end."""

raise SystemExit(3)
