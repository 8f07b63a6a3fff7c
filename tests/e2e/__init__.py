"""The whole proxy from outside: a subprocess, raw backends, raw clients."""
