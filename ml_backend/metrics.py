"""What operators can watch at /metrics, in Prometheus' text format.

Every application has a registry of its own, so tests may build many. With several worker processes
a scrape sees the one that answers it; the shipped configuration runs one.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from ml_backend.label_studio.protocol import KNOWN_ACTIONS
from training import __version__

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)


class Metrics:
    """All series of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.predict_seconds = Histogram(
            "icmformer_predict_seconds",
            "Time to answer /predict, by kind: click or batch.",
            ["kind"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.network_seconds = Histogram(
            "icmformer_network_seconds",
            "Time the network worked on one click.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.image_seconds = Histogram(
            "icmformer_image_seconds",
            "Time to get the image of a task, from memory or from Label Studio.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.clicks = self._counter(
            "icmformer_clicks", "Clicks the network worked on; replayed ones count again."
        )
        self.masks = self._counter(
            "icmformer_masks", "Masks answered, by what asked.", "kind", "network"
        )
        self.click_memory = self._counter(
            "icmformer_click_memory",
            "Objects clicked: the first click, the mask before it remembered, or replayed.",
            "outcome",
        )
        self.image_cache = self._counter(
            "icmformer_image_cache", "Images found in memory or fetched.", "outcome"
        )
        for outcome in ("hit", "miss"):  # a ratio of the two needs both from the start
            self.image_cache.labels(outcome)
        self.errors = self._counter("icmformer_errors", "Failures, by kind.", "kind")
        self.responses = self._counter("icmformer_responses", "HTTP answers.", "route", "status")
        self.webhooks = self._counter("icmformer_webhooks", "Events received.", "action")
        self.model_loads = self._counter("icmformer_model_loads", "Versions loaded.", "outcome")
        self._model = Gauge(
            "icmformer_model_info",
            "1 for every model version in memory.",
            ["version", "trained"],
            registry=self.registry,
        )
        Info("icmformer_build", "The release that runs.", registry=self.registry).info(
            {"version": __version__}
        )

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that asks `value` at every scrape."""
        Gauge(name, description, registry=self.registry).set_function(value)

    def show_models(self, versions: dict[str, bool]) -> None:
        """Publish the versions in memory: name and whether it was trained."""
        self._model.clear()
        for version, trained in versions.items():
            self._model.labels(version, str(trained).lower()).set(1)

    def count_object(self, clicks: int, known: int) -> None:
        """Count an object that was clicked so often, by how many of these the memory knew."""
        outcome = "first" if clicks == 1 else "remembered" if known >= clicks - 1 else "replayed"
        self.click_memory.labels(outcome).inc()

    def count_webhook(self, action: str) -> None:
        """Count an event; unknown names share one series, as they come from outside."""
        self.webhooks.labels(action if action in KNOWN_ACTIONS else "other").inc()

    def render(self) -> bytes:
        """Return all series as text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)
