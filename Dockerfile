# Homeport in a container, as nobody in particular: `docker build -t homeport .`; docs/guide/docker.md says how to run it.

FROM python:3.13-slim AS build
COPY . /source
# The user interface is built too, with a Node that comes from PyPI for as long as that takes.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir=/wheels /source /source/jupyter

FROM python:3.13-slim
# Files in mounted folders belong to numbers: --build-arg=USER_ID=$(id -u) makes them yours.
ARG USER_ID=1000
RUN useradd --uid=${USER_ID} --create-home --shell=/bin/bash homeport \
 && install --directory --owner=homeport /opt/homeport /notebooks
COPY --from=build /wheels /wheels
USER homeport
# Not below /home: a volume there would keep the programs of the image that it was first used with.
RUN python -m venv /opt/homeport && /opt/homeport/bin/pip install --no-cache-dir /wheels/*.whl
ENV PATH=/opt/homeport/bin:$PATH
WORKDIR /notebooks
EXPOSE 8888
CMD ["homeport", "--public"]
