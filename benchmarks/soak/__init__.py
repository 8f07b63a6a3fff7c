"""A soak: the real proxy under mixed traffic while things go wrong, and every single answer looked at.

`python -m benchmarks.soak` says how it is run. `content` is what makes an answer checkable, `backends` what
stands behind the proxy, `clients` what is asked and what came of it, `traffic` how much of it, `events` what
goes wrong and when, `proxy_line` the processes, `accounts` the counters, `vitals` memory and descriptors.
"""
