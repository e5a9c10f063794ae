# The server in a container, for CPU or GPU.
#
#   docker build -t gatehouse .                                  what PyPI's torch brings: on Linux, CUDA
#   docker build -t gatehouse --build-arg TORCH_INDEX=... .      another build of torch, a small one for CPU say;
#                                                                pytorch.org/get-started/locally lists the addresses
#   docker run --stop-timeout 60 -p 127.0.0.1:50051:50051 -p 127.0.0.1:8080:8080 gatehouse     `--gpus all` for a GPU
#                                                                60 seconds to finish and store what runs; Docker gives 10
#
# Options of `gatehouse serve` follow the image's name; every setting is an environment variable too.
# Builds of torch for CUDA bring its libraries along, so the base image needs Python and nothing else.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=""
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY client client
COPY server server
RUN python -m venv /opt/gatehouse \
 && /opt/gatehouse/bin/python -m pip install --no-cache-dir --constraint constraints.txt pip \
 && /opt/gatehouse/bin/python -m pip install --no-cache-dir \
      --constraint constraints.txt --build-constraint constraints.txt \
      ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} '.[server,otel]'

FROM ${BASE} AS serve
COPY --from=build /opt/gatehouse /opt/gatehouse
# From outside only the published ports can be reached; containers of the same network, and pods, reach all of them. On a
# host the default is loopback. Both settings stand for every address, of IPv6 as well where there is any.
ENV PATH="/opt/gatehouse/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    GATEHOUSE_HOST=0.0.0.0 \
    GATEHOUSE_HTTP_HOST=::
# A volume mounted here belongs to the server, as SQLite needs it: GATEHOUSE_STATE_STORE=sqlite:/data/sessions.db
RUN install --directory --owner 10001 --group 10001 /data
USER 10001:10001
# The operators' port listens on the container's loopback: `docker exec CONTAINER gatehouse sessions list`.
EXPOSE 50051 8080
# The start period covers loading torch and the models.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-m", "gatehouse_server.app.healthcheck", "--target", "127.0.0.1:50051", "--service", ""]
# Exec form: SIGTERM reaches the server itself, which then drains.
ENTRYPOINT ["gatehouse", "serve"]
