"""The commands of `python -m ml_backend`, named in `ml_backend.__main__`."""
