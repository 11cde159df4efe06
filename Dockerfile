# The backend and its worker, for machines with and without a GPU: torch's wheels bring CUDA along
# and fall back to the CPU. With a GPU: docker run --gpus all …
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml requirements.txt ./
# what the programs need, at the versions of the lock, without what only the developers need
RUN pip install --no-cache-dir "$(grep -o '^uv==[0-9.]*' requirements.txt)" \
    && uv venv /opt/venv \
    && uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python \
        --requirement pyproject.toml --extra training --extra backend --constraint requirements.txt

FROM python:3.11.13-slim-bookworm
LABEL org.opencontainers.image.title="iCMFormer for Label Studio" \
      org.opencontainers.image.licenses="MIT"
# a number, so that Kubernetes can see that it is not root
RUN useradd --uid 10001 --create-home icmformer && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE ./
COPY icmformer icmformer
COPY training training
COPY ml_backend ml_backend
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ICMFORMER_HOST=0.0.0.0 \
    PORT=9090 \
    MODEL_DIR=/data
# like the environment above: whoever runs this may not keep what Python compiles, and would compile at every start
RUN python -m compileall -q icmformer training ml_backend
USER 10001
VOLUME /data
EXPOSE 9090
# liveness; /ready says when the network is loaded
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; e = os.environ; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + (e.get('ICMFORMER_PORT') or e['PORT']) + e.get('SCRIPT_NAME', '') + '/health', timeout=3)"]
ENTRYPOINT ["python", "-m", "ml_backend"]
CMD ["serve"]
