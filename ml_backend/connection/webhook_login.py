"""Teaches Label Studio to send the login with its webhooks.

A backend connected with basic authentication gets the login with every request but webhooks about
annotations; without it they are refused, and nothing is ever learned. The header can be set through
the API, once the webhook exists, which is a moment after the first /setup.
"""

import logging
import threading
from typing import Any

from ml_backend.auth import authorization_header
from ml_backend.connection.webhook_checks import calls, webhook_address
from ml_backend.errors import BackendError
from ml_backend.label_studio.addresses import shown_origin
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.project_keys import project_number

logger = logging.getLogger(__name__)


class WebhookLogin:
    """Sets the header of each project's webhook, in the background; thread-safe."""

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        """Do nothing at all where this backend asks for no login (None)."""
        self._header = authorization_header(*credentials) if credentials else None
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def ensure(self, label_studio: LabelStudio | None, project: str, place: str) -> None:
        """Begin to look whether the header is set, and set it, unless that is on its way.

        Every /setup looks again: the webhook may have been deleted and made anew since.

        Args:
            label_studio: of the project.
            project: its key.
            place: host, port and path under which Label Studio reaches this backend.
        """
        with self._lock:
            if not (self._header and label_studio and project) or project in self._busy:
                return
            self._busy.add(project)
        arguments = (label_studio, project, place)
        threading.Thread(target=self._set, args=arguments, name="webhook", daemon=True).start()

    def _set(self, label_studio: LabelStudio, project: str, place: str) -> None:
        try:
            webhooks = label_studio.webhooks(project_number(project))
            ours = [one for one in webhooks if calls(one, place)]
            if not ours and webhooks:
                # A proxy in between may have changed the host: where it is the only backend, its
                # address in Label Studio tells.
                connected = label_studio.ml_backends(project_number(project))
                addresses = {str(backend.get("url")).rstrip("/") for backend in connected}
                only = addresses.pop() if len(addresses) == 1 else None
                ours = [
                    one for one in webhooks if only and webhook_address(one) == f"{only}/webhook"
                ]
            if not ours:
                seen = ", ".join(shown_origin(webhook_address(one)) for one in webhooks) or "none"
                logger.warning("no webhook of project=%s calls %s yet: %s", project, place, seen)
            for webhook in ours:
                self._change(label_studio, webhook, project)
        except BackendError as error:
            logger.warning("webhook of project=%s cannot be given the login: %s", project, error)
        finally:
            with self._lock:
                self._busy.discard(project)

    def _change(self, label_studio: LabelStudio, webhook: dict[str, Any], project: str) -> None:
        """Set the header where it is missing or another."""
        headers = dict(webhook.get("headers") or {})
        if headers.get("Authorization") != self._header:
            changed = {**headers, "Authorization": self._header}
            label_studio.change_webhook(webhook["id"], {"headers": changed})
            logger.info("webhook carries the login project=%s", project)
