"""What the package offers at its top, to people and to their type checkers."""

import re
from pathlib import Path

import icmformer
import training
from icmformer import errors


def test_its_errors_are_at_the_top():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert {getattr(icmformer, kind.__name__) for kind in kinds} == kinds
    assert {kind.__name__ for kind in kinds} < set(icmformer.__all__)


def test_the_release_is_the_same_everywhere():
    assert re.fullmatch(r"\d+\.\d+\.\d+", icmformer.__version__)
    assert training.__version__ == icmformer.__version__


def test_type_checkers_may_read_it():
    assert Path(icmformer.__file__).with_name("py.typed").exists()
