"""Devices as settings and recipes name them, checked without torch."""

import re
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"auto|cpu|cuda(:\d+)?")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be auto, cpu, cuda, or one of several GPUs such as cuda:1")
    return name


DeviceName = Annotated[str, AfterValidator(_checked)]
