"""Whether Label Studio's webhooks say what is accepted; without one that is noticed an hour later.

Label Studio makes one for each backend while it connects, and says nothing where it cannot.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

NEEDED_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME_WITH_DOT = re.compile(
    rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9]{{1,59}}|[a-z](?:[a-z-]{{0,61}}[a-z]))\.?", re.IGNORECASE
)


def is_host_for_webhooks(host: str) -> bool:
    """Say whether Label Studio makes webhooks to a host: an IP, localhost or a name with a dot.

    Clicks go to any name, such as `backend` in a network of containers; a webhook's address is
    checked by Django's URLValidator, which knows names of the internet only.

    Args:
        host: without its port, as `urllib.parse.urlsplit` gives it.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost" or _NAME_WITH_DOT.fullmatch(host) is not None
    return True


def webhook_fault(webhook: Mapping[str, Any]) -> str:
    """Return why nothing can be learned from what a webhook sends; "" if all is well."""
    if not webhook.get("is_active", True):
        return "the webhook is switched off"
    if not webhook.get("send_payload", True):
        return "the webhook is sent without its payload"
    if not webhook.get("send_for_all_actions"):
        missing = set(NEEDED_ACTIONS) - set(webhook.get("actions") or ())
        if missing:
            return f"the webhook leaves out {', '.join(sorted(missing))}"
    return ""


def unannounced(webhooks: Sequence[Mapping[str, Any]], number: str) -> str:
    """Return what a project's webhooks lack; "" if one of them may tell a backend everything.

    Args:
        webhooks: of the project, as Label Studio lists them.
        number: of the project in Label Studio.
    """
    ours = [one for one in webhooks if str(one.get("url")).rstrip("/").endswith("/webhook")]
    faults = [webhook_fault(webhook) for webhook in ours] or ["no webhook calls a backend"]
    if not all(faults):
        return ""
    return (
        f"{faults[0]}, so what is accepted is noticed only when the project is compared: "
        f"python -m ml_backend diagnose --project {number} says what to change"
    )
