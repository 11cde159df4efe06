"""The application that gunicorn imports in each worker."""

import gc

import torch
from gunicorn.errors import AppImportError

from icmformer.errors import ICMFormerError
from ml_backend.app import create_app
from ml_backend.errors import BackendError
from ml_backend.logs import write_logs
from ml_backend.settings import load_settings
from training.errors import TrainingError
from training.processor_cores import usable_cores


def _set_aside_what_stays() -> None:
    """Spare the garbage collector all that was loaded.

    It would go through every object of torch now and then, within whatever request is under way:
    0.3 s, in which a webhook or a click waits.
    """
    gc.collect()
    gc.freeze()


_settings = load_settings()
write_logs(_settings.log_level)
# torch knows to which cores it is pinned, but nothing of a container's quota.
_cores = min(torch.get_num_threads(), usable_cores())
torch.set_num_threads(1)  # outside of the inference queue, which has workers of its own
try:
    app = create_app(_settings, _cores)
except (BackendError, ICMFormerError, TrainingError) as error:
    # Of this one gunicorn prints the sentence and no trace, and ends.
    raise AppImportError(str(error)) from error
app.extensions["icmformer"].readiness.warm_up(_set_aside_what_stays)
