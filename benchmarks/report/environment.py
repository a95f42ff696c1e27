"""The machine and the software of a run, as a reader wants them."""

from pathlib import Path

from benchmarks.results import Results, programs


def facts(results: Results) -> dict[str, str]:
    """What there is to know of the machine, by name; nothing unknown.

    Args:
        results: the run.
    """
    machine = results.environment
    cores = ", ".join(map(str, machine.affinity))
    found = {
        "platform": machine.platform,
        "Python": machine.python,
        "processor": machine.processor,
        "processor clock": _megahertz(machine.processor_mhz),
        "cores": str(machine.cores),
        "used cores": f"{cores} ({machine.threads} threads)",
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB",
        "accelerator": machine.accelerator,
        "accelerator driver": machine.accelerator_driver,
        "accelerator clock": _megahertz(machine.accelerator_mhz),
        "energy": machine.energy or "not available on this machine",
        "matmul precision": results.matmul_precision,
        "compiled programs": programs(results),
        "commit": machine.commit,
        **dict(sorted(machine.packages.items())),
    }
    return {name: fact for name, fact in found.items() if fact}


def unfinished(results: Results) -> str:
    """What an incomplete run lacks, in a sentence; nothing for a whole one.

    Args:
        results: the run.
    """
    if results.complete:
        return ""
    subjects = [
        Path(subject).name if ".py:" in subject else Path(subject).stem
        for kind in ("workloads", "models")
        for subject in results.plan.get(kind, [])
    ]
    missing = [name for name in subjects if name not in results.finished]
    text = (
        f"{len(results.finished)} of {len(subjects)} workloads are finished"
        if subjects
        else "Some workloads are not finished"
    )
    return f"{text}; missing: {', '.join(missing)}." if missing else f"{text}."


def _megahertz(clock: float | None) -> str | None:
    return None if clock is None else f"{clock:,.0f} MHz"
