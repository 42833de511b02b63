"""What ingress and replicas tell Prometheus, beside all that Ray Serve tells of requests, queues and replicas.

Ray puts `ray_` before each name, and adds the replica's labels. deploy/grafana/demandcast.json shows them.
"""

from ray.serve import metrics

SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
TOKENS = [256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0]
REQUESTS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


class IngressMetrics:
    """Counts of an ingress."""

    def __init__(self) -> None:
        """For the ingress's process alone, which Ray Serve must have started."""
        self._asked = metrics.Counter(
            "demandcast_asked_total",
            "Predictions asked for, by whether the very same had been answered before.",
            ("known",),
        )
        self._shown = metrics.Counter("demandcast_shown_total", "Items of answers that were shown.", ("model",))
        self._bought = metrics.Counter("demandcast_bought_total", "Items shown that were bought.", ("model",))

    def asked(self, known: bool) -> None:
        """One question, whose answer was kept or was not."""
        self._asked.inc(tags={"known": str(known).lower()})

    def came(self, model: str, shown: int, bought: int) -> None:
        """What came of an answer."""
        self._shown.inc(shown, tags={"model": model})
        if bought:
            self._bought.inc(bought, tags={"model": model})


class Metrics:
    """Counts of one replica."""

    def __init__(self) -> None:
        """For a replica's process alone, which Ray Serve must have started."""
        self._answers = metrics.Counter(
            "demandcast_answers_total",
            "Answers, by the model that gave them.",
            ("model", "status"),  # type: ignore[arg-type]
        )
        self._seconds = metrics.Histogram(
            "demandcast_answer_seconds", "From a request's arrival at the replica to its answer.", SECONDS, ("model",)
        )
        self._batch_tokens = metrics.Histogram("demandcast_batch_tokens", "Tokens of a batch.", TOKENS)
        self._batch_requests = metrics.Histogram("demandcast_batch_requests", "Requests of a batch.", REQUESTS)

    def answered(self, model: str, status: int, seconds: float) -> None:
        """One answer, or failure, of a model."""
        self._answers.inc(tags={"model": model, "status": str(status)})
        self._seconds.observe(seconds, tags={"model": model})

    def batched(self, requests: int, tokens: int) -> None:
        """One batch."""
        self._batch_requests.observe(requests)
        self._batch_tokens.observe(tokens)
