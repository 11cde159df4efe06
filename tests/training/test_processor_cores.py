"""Cores that a process may use, where it may not use all."""

import os

import pytest

from training import processor_cores
from training.processor_cores import usable_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine with 8 cores, on which this process is in some control group."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(processor_cores, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(processor_cores, "_OWN_GROUP", tmp_path / "own")

    def within(group, **limits):
        (tmp_path / "own").write_text(f"3:cpuset:/old\n0::{group}\n")
        for name, limit in limits.items():
            folder = tmp_path / "groups" / name.replace("_", "/").removeprefix("root")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cpu.max").write_text(f"{limit}\n")

    return within


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("200000 100000", 2),
        ("350000 100000", 3),
        ("50000 100000", 1),
        ("max 100000", 8),
        ("1600000 100000", 8),
    ],
)
def test_a_container_has_the_cores_of_its_quota(machine, limit, cores):
    machine("/", root=limit)
    assert usable_cores() == cores


def test_a_service_has_no_more_cores_than_the_groups_around_it(machine):
    machine("/slice/backend", slice_backend="600000 100000", slice="300000 100000")
    assert usable_cores() == 3


def test_a_pinned_process_has_the_cores_that_it_is_pinned_to(machine, monkeypatch):
    machine("/")
    assert usable_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5}, raising=False)
    assert usable_cores() == 2


def test_where_a_system_has_neither_all_cores_count(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
