# syntax=docker/dockerfile:1

# ... one environment with the pinned versions

FROM python:3.11 AS build

WORKDIR /src
RUN python -m venv /opt/dualpath
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY proxy/ proxy/
# The hot modules are compiled: this image has the compiler, the one that runs does without. Flags as in the Makefile.
RUN CFLAGS='-fvisibility=hidden -fno-plt' HATCH_BUILD_HOOK_ENABLE_MYPYC=true \
    /opt/dualpath/bin/python -m pip install --no-cache-dir --constraint constraints.txt '.[fleet]'

# ... what runs: the interpreter, that environment, and nobody in particular

FROM python:3.11-slim

RUN groupadd --gid 10001 dualpath \
 && useradd --uid 10001 --gid dualpath --home-dir /var/lib/dualpath --create-home --shell /usr/sbin/nologin dualpath
COPY --from=build /opt/dualpath /opt/dualpath
COPY proxy.toml /etc/dualpath/proxy.toml

# Clients reach the container from outside, so that loopback will not do for them. The admin stays on loopback until
# a token is configured: docker exec CONTAINER dualpath status. The store is not named here, where it would win over a
# file's shared one: unless a file names another, it is a file in the working directory, which is the volume.
ENV PATH=/opt/dualpath/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DUALPATH_CONFIG=/etc/dualpath/proxy.toml \
    DUALPATH__LISTEN__ADDRESS=0.0.0.0:8080

USER 10001:10001
WORKDIR /var/lib/dualpath
VOLUME /var/lib/dualpath
EXPOSE 8080 9900

# Without the command line, which would load every library of it each time. urlopen raises for anything but 2xx.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9900/healthz', timeout=2)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["dualpath"]
CMD ["serve"]
