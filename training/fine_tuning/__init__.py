"""Accepted masks → a candidate, compared with the version that is live."""
