# nlft in a container. `make test-install` runs the same steps without Docker.
#
#   docker build -t nlft .                                # torch as the index has it: for Linux, with CUDA
#   docker build -t nlft --build-arg TORCH_INDEX=URL .    # torch from PyTorch's index of CPU builds, much smaller
#   docker run --rm -v "$PWD:/work" nlft demo             # --gpus all for CUDA
FROM python:3.12-slim
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /nlft
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && pip install --no-cache-dir --constraint constraints.txt ".[demo]" \
    && useradd --create-home --uid 1000 nlft
USER 1000
WORKDIR /work
ENTRYPOINT ["nlft"]
CMD ["--help"]
