"""How many requests may wait for masks at once."""

from contextlib import ExitStack

import pytest

from ml_backend.errors import BusyError
from ml_backend.serving.admission import Admission


@pytest.mark.parametrize(("threads", "places"), [(3, 1), (32, 30)])
def test_two_threads_stay_free_however_many_ask_for_masks(threads, places):
    admission = Admission(threads)
    for _ in range(2):  # what was held is free again
        with ExitStack() as held:
            for _ in range(places):
                held.enter_context(admission.place())
            with pytest.raises(BusyError, match=f"^{places} requests"), admission.place():
                pass


def test_a_request_that_fails_gives_its_place_back():
    admission = Admission(3)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), admission.place():
            raise ZeroDivisionError
