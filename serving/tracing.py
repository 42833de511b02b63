"""OpenTelemetry traces, switched on by the variables that every program with OpenTelemetry knows.

Ray Serve makes the spans, of the proxy's, the ingress's and the replica's part of each request and of the way between;
FastAPI and the replica add theirs. A request that says what trace it belongs to (W3C's traceparent) goes on in that.
Nothing of a body is in a span.
"""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ray.serve.schema import TracingConfig

from demand.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Where spans are sent, over HTTP; without either there are none."""
SAMPLED = "OTEL_TRACES_SAMPLER_ARG"
"""Share of the requests that are traced, 1 by default."""


def tracing() -> TracingConfig:
    """Ray Serve's setting, as the environment has it.

    Raises:
        SettingsError: traces are wanted, and cannot be made.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return TracingConfig(enabled=False)
    if not find_spec("opentelemetry.exporter.otlp.proto.http"):
        raise SettingsError("traces want an exporter: pip install 'demandcast[tracing]'")
    sampled = os.environ.get(SAMPLED, "1")
    try:
        return TracingConfig(
            enabled=True, exporter_import_path=f"{__name__}:{exporters.__name__}", sampling_ratio=float(sampled)
        )
    except ValueError:
        raise SettingsError(f"{SAMPLED}={sampled} is no share from 0 to 1") from None


def environment_of_proxies() -> dict[str, str]:
    """What the environment of Ray's proxies must say for them to trace: Ray Serve 2.60 hands them no setting.

    Raises:
        SettingsError: as for `tracing`.
    """
    config = tracing()
    if not config.enabled:
        return {}
    return {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": config.exporter_import_path,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(config.sampling_ratio),
    }


def exporters() -> list["SpanProcessor"]:
    """For each process of Ray Serve: spans go in batches to where its own environment says, by default to a collector
    on its machine (http://localhost:4318)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return [BatchSpanProcessor(OTLPSpanExporter())]
