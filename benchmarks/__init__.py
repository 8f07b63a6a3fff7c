"""Measurements: each script runs alone (`python -m benchmarks.NAME`), prints a table, says what it ran on."""
