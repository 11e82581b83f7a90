# The server with its packages, for PostgreSQL, Redis and a list of movies that are elsewhere: nothing is embedded.
FROM python:3.11-slim AS packages
COPY requirements.txt /
# The direct packages stand by purpose, those of the server before the embedded ones; the file pins what they need.
RUN sed '/^# the embedded servers/,$d' requirements.txt > server.txt \
    && python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r server.txt -c requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin movieserver
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000
WORKDIR /app
COPY --from=packages /venv /venv
COPY run.py LICENSE ./
COPY sql sql
COPY migrations migrations
COPY movieserver movieserver
RUN python -m compileall -q run.py movieserver
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# /healthz and not /readyz: a new container does not help while the database is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "run.py"]
CMD ["serve"]
