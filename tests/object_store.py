"""S3 on loopback: moto's server with a bucket, which can go away and come back with all that it held."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "bucket"
HOST = "127.0.0.1"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class ObjectStore:
    """A server and how processes find it."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port = 0
        self.come()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._port}",
            **dict.fromkeys(CREDENTIALS, "test"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        session = boto3.Session(*(self.environment[name] for name in CREDENTIALS), region_name="us-east-1")
        session.client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket=BUCKET)

    @property
    def options(self) -> str:
        """What a URI ends with where the environment does not say where the store is."""
        return f"?endpoint_override={HOST}:{self._port}&scheme=http&region=us-east-1"

    def come(self) -> None:
        """What it holds is kept in this process, not in the server."""
        self._server = ThreadedMotoServer(HOST, self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def go(self) -> None:
        self._server.stop()


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """One for as long as the block lasts."""
    store = ObjectStore()
    try:
        yield store
    finally:
        store.go()
