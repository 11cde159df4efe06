"""The application that gunicorn imports in each worker."""

import torch

from ml_backend.app import create_app
from ml_backend.logs import write_logs
from ml_backend.settings import load_settings

_settings = load_settings()
write_logs(_settings.log_level)
if _settings.torch_threads:
    torch.set_num_threads(_settings.torch_threads)
app = create_app(_settings)
app.extensions["icmformer"].readiness.warm_up()
