"""What of the learning side is at /metrics, read from the database at every scrape."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from ml_backend.learning.attention import Attention, Lookout
from ml_backend.learning.fine_tune_jobs import UNFINISHED
from training.errors import DatabaseError


class LearningMetrics(Collector):
    """The gauges; while the database is away a scrape goes without them."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout

    def collect(self) -> Iterable[Metric]:
        """Look, and return what there was to see."""
        try:
            return _gauges(self._lookout.look())
        except (DatabaseError, SQLAlchemyError):
            return []  # whoever follows the live pointers logs that the database is away


def _gauges(seen: Attention) -> list[Metric]:
    needs = seen.needs.values()
    jobs = GaugeMetricFamily(
        "icmformer_jobs", "Fine-tuning jobs that wait or run.", labels=["state"]
    )
    for state in UNFINISHED:
        jobs.add_metric([state], seen.jobs[state])
    seen_at = seen.worker_seen_at
    return [
        GaugeMetricFamily(
            "icmformer_versions_waiting",
            "Versions that wait for a person's decision.",
            sum(len(need.versions) for need in needs),
        ),
        GaugeMetricFamily(
            "icmformer_projects_with_failed_job",
            "Projects whose last job failed while no other waits or runs.",
            sum(need.failed_job is not None for need in needs),
        ),
        jobs,
        GaugeMetricFamily(
            "icmformer_worker_seen_timestamp_seconds",
            "When a worker was last here, 0 if none ever was.",
            seen_at.timestamp() if seen_at else 0.0,
        ),
    ]
