"""A collector of OpenTelemetry spans, at the port that exporters take by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PORT = 4318


class Collector:
    """What was sent to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def trace_of(self, request_id: str) -> list[Any]:
        """The spans of a request's trace, as they began."""
        spans = [
            span
            for body in list(self.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        traces = {
            span.trace_id for span in spans if any(each.value.string_value == request_id for each in span.attributes)
        }
        return sorted((each for each in spans if each.trace_id in traces), key=lambda each: each.start_time_unix_nano)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, while the block lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()
