"""Templates become answers."""

from typing import Any

from flask import Response, render_template

PAGES = "/projects"  # below it, and at /, people read, and failures are pages, too


def rendered(template: str, **facts: Any) -> Response:
    """Return a page.

    Args:
        template: its file below templates.
        **facts: what it shows. JSON can hold halves of characters, and one in a label must not take
            a page away for good: it becomes a question mark.
    """
    page = render_template(template, **facts).encode(errors="replace")
    return Response(page, mimetype="text/html")
