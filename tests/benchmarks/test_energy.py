import os
import sys
from pathlib import Path

import pytest

from benchmarks.energy import Meter


@pytest.fixture(autouse=True)
def no_nvidia(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def domain(root: Path, folder: str, name: str, energy: int, span: int) -> Path:
    """A powercap domain; energies in microjoules, as in Linux."""
    made = root / folder
    made.mkdir(parents=True)
    (made / "name").write_text(name + "\n")
    (made / "max_energy_range_uj").write_text(f"{span}\n")
    (made / "energy_uj").write_text(f"{energy}\n")
    return made / "energy_uj"


def test_absent_says_absent(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        meter = Meter(root)
        assert meter.source is None
        assert meter.joules() is None


def test_packages_are_summed_and_their_parts_are_not(tmp_path):
    first = domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000, 10**9)
    part = domain(tmp_path, "intel-rapl:0:0", "core", 0, 10**9)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 0, 10**9)
    platform = domain(tmp_path, "intel-rapl:2", "psys", 0, 10**9)
    other_way = domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0, 10**9)
    meter = Meter(tmp_path)
    assert meter.source == "RAPL"
    assert meter.joules() == 0
    first.write_text("7500000\n")
    second.write_text("500000\n")
    for other in (part, platform, other_way):
        other.write_text("900000000\n")
    assert meter.joules() == pytest.approx(3.0)
    assert meter.joules() == pytest.approx(3.0)


def test_a_counter_that_starts_over(tmp_path):
    energy = domain(
        tmp_path, "intel-rapl:0", "package-0", 262_000_000, 262_143_328
    )
    meter = Meter(tmp_path)
    energy.write_text("1000000\n")
    assert meter.joules() == pytest.approx(0.143328 + 1.0)
    energy.write_text("500000\n")
    assert meter.joules() == pytest.approx(1.143328 + 261.643328)


def test_what_cannot_be_read_is_absent(tmp_path, monkeypatch):
    domain(tmp_path, "intel-rapl:0", "package-0", 1, 10**9)
    secret = domain(tmp_path, "intel-rapl:1", "package-1", 1, 10**9)
    read = Path.read_text

    def refuse(path, *arguments, **options):
        if path == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    meter = Meter(tmp_path)
    assert (meter.source, meter.joules()) == (None, None)


def test_a_folder_without_its_files_is_absent(tmp_path):
    os.remove(domain(tmp_path, "intel-rapl:0", "package-0", 1, 10**9))
    assert Meter(tmp_path).source is None


class Nvidia:
    """A made-up `pynvml` with one device; energies in millijoules."""

    class NVMLError(Exception):
        pass

    energy: int | None = 2_000

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByIndex(self, index):
        return f"device {index}"

    def nvmlDeviceGetTotalEnergyConsumption(self, device):
        assert device == "device 0"
        if self.energy is None:
            raise self.NVMLError
        return self.energy


def test_nvidia_device(tmp_path, monkeypatch):
    library = Nvidia()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    meter = Meter(tmp_path)
    assert meter.source == "NVML"
    library.energy = 4_500
    assert meter.joules() == pytest.approx(2.5)
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0, 10**9)
    both = Meter(tmp_path)
    assert both.source == "RAPL and NVML"
    package.write_text("1000000")
    library.energy = 5_000
    assert both.joules() == pytest.approx(1.5)


def test_old_nvidia_device_without_a_counter(tmp_path, monkeypatch):
    library = Nvidia()
    library.energy = None
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert Meter(tmp_path).source is None


def test_a_counter_that_fails_later_is_absent_from_then_on(tmp_path):
    energy = domain(tmp_path, "intel-rapl:0", "package-0", 1, 10**9)
    meter = Meter(tmp_path)
    energy.unlink()
    assert meter.joules() is None
    energy.write_text("5000000")
    assert meter.joules() is None
