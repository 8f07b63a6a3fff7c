"""Decisions without effects: values in, values out. Time and chance are arguments; nothing here does I/O."""
