# The one image of all that runs on Kubernetes: heads, workers, jobs and the endpoint. On a GPU node the driver comes
# from NVIDIA's container toolkit, and all else from wheels, which PyPI has for CUDA.
FROM python:3.11-slim

# Everything comes as wheels. The compiler is torch.compile's, which speeds up training on a GPU.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN useradd --create-home --uid 1000 demandcast
WORKDIR /opt/demandcast

# Dependencies lie below the source: a change of ours sends megabytes to the registry, not gigabytes.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        print(*project["dependencies"], *extras["postgresql"], *extras["privacy"], *extras["tracing"], sep="\n")' > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt
COPY . .
RUN pip install --no-deps .

# MLflow looks for git, which is not here; NVIDIA's toolkit for the parts of the driver that are wanted.
ENV GIT_PYTHON_REFRESH=quiet NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /home/demandcast
CMD ["demandcast", "--help"]
