# syntax=docker/dockerfile:1
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first: this layer changes only with the locks. /opt/build makes the wheel and stays behind.
COPY requirements-run.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --require-hashes --no-deps -r requirements-run.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --no-deps -r requirements-build.lock
COPY . .
# Byte code and the workers' compiled form are made here: the user below may not write to /opt/venv.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && python -m pip --python /opt/venv/bin/python install --no-deps --no-index /wheel/*.whl \
 && /opt/build/bin/python -m admin.compiled --prefix /opt/venv \
 && test -d /opt/venv/lib/headgate-compiled \
 && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM ${BASE}
RUN groupadd --gid 10001 headgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/headgate --shell /usr/sbin/nologin headgate \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/headgate \
 && install -d -m 0755 /etc/headgate
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
# The default state folder, ./headgate-state, falls into the volume, and every command finds the gateway there.
WORKDIR /var/lib/headgate
VOLUME ["/var/lib/headgate"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["headgate", "health"]
ENTRYPOINT ["headgate"]
CMD ["run", "/etc/headgate/headgate.yaml"]
