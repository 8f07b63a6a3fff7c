"""Tests: they mirror `proxy/`; sockets only in `e2e/`."""
