# docker build --tag mlabench .                                       for the CPU
# docker build --tag mlabench:cuda --build-arg TORCH=cu128 .          for NVIDIA GPUs; run it with --gpus all
# docker run --rm --volume "$PWD:/bench" mlabench run stamps_missing  writes ./results
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
# The kind of torch, as https://pytorch.org/get-started/locally names it.
ARG TORCH=cpu
# What of the extras is installed, too, such as [prepare,slurm].
ARG EXTRAS=[prepare]
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --extra-index-url "https://download.pytorch.org/whl/${TORCH}" \
        "$(echo /wheels/*.whl)${EXTRAS}" \
    && useradd --create-home --uid 1000 bench
USER 1000
WORKDIR /bench
ENTRYPOINT ["mlabench"]
