"""Whether Label Studio's webhooks say what is accepted; without one that is noticed an hour later.

Label Studio makes one for each backend while it connects, and says nothing where it cannot.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from urllib3.util import parse_url

from ml_backend.label_studio.addresses import origin, shown_origin

_NEEDED_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
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
        missing = set(_NEEDED_ACTIONS) - set(webhook.get("actions") or ())
        if missing:
            return f"the webhook leaves out {', '.join(sorted(missing))}"
    return ""


def webhook_address(webhook: Mapping[str, Any]) -> str:
    """Return what a webhook calls, as all addresses of webhooks are compared here."""
    return str(webhook.get("url")).rstrip("/")


def calls(webhook: Mapping[str, Any], place: str) -> bool:
    """Say whether a webhook calls a backend; a proxy in between may change the scheme.

    Args:
        webhook: as Label Studio lists it.
        place: host, port and path of the backend.
    """
    address = webhook_address(webhook)
    here = origin(address)
    there = f"{here[0]}://{place}" if here else ""
    if here is None or here != origin(there):
        return False
    # Other services of the host may have webhooks, too.
    return parse_url(address).path == f"{(parse_url(there).path or '').rstrip('/')}/webhook"


def unannounced(
    webhooks: Sequence[Mapping[str, Any]], backends: Sequence[Mapping[str, Any]], number: str
) -> str:
    """Return what a project's webhooks lack; "" if one of them may tell this backend everything.

    Of several connected backends nothing says here which is this one, so each counts.

    Args:
        webhooks: of the project, as Label Studio lists them.
        backends: connected to it, likewise.
        number: of the project in Label Studio.
    """
    addresses = [str(backend.get("url")) for backend in backends]
    places = [address.partition("://")[2] for address in addresses]
    is_known = bool(places) and all(is_host_for_webhooks(_host(place)) for place in places)
    # A backend whose own name no webhook can have is called by another one, if at all.
    ours = [
        webhook
        for webhook in webhooks
        if (any(calls(webhook, place) for place in places) if is_known else _calls_any(webhook))
    ]
    called = " or ".join(map(shown_origin, addresses)) if is_known else "a backend"
    faults = [webhook_fault(webhook) for webhook in ours] or [f"no webhook calls {called}"]
    if not all(faults):
        return ""
    return (
        f"{faults[0]}, so what is accepted is noticed only when the project is compared: "
        f"python -m ml_backend diagnose --project {number} says what to change"
    )


def _calls_any(webhook: Mapping[str, Any]) -> bool:
    return webhook_address(webhook).endswith("/webhook")


def _host(place: str) -> str:
    try:
        return urlsplit(f"//{place}").hostname or ""
    except ValueError:  # no address at all
        return ""
