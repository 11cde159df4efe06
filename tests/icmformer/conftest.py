"""What every test of the network runs under."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    """Draw the same weights and inputs in every run, whichever tests ran before."""
    torch.manual_seed(0)
