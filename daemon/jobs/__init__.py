"""The jobs of the day, one module each; adding one touches no other file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from daemon.ports import Job


def all_jobs() -> dict[str, Job]:
    """Return every job of this package by its name."""
    modules = (
        import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)
    )
    jobs = [module.JOB for module in modules if hasattr(module, "JOB")]
    return {job.name: job for job in sorted(jobs, key=lambda job: job.name)}
