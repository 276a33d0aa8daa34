"""Content-addressed students on disk: atomic, locked, checksummed.

A student lies under the fingerprint of everything that decides it. It is written to a temporary folder and renamed, so
that there is never half a student; one process builds while the others wait; a file that does not match its checksum is
said and rebuilt.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from pkt_eval._util.files import new_folder
from pkt_eval._util.folders import store_root
from pkt_eval.errors import StoreError
from pkt_eval.models.student import MANIFEST, Student, load_student

log = logging.getLogger(__name__)


class Store:
    """Students by fingerprint.

    Args:
        root: Folder of the store; default ``PKT_EVAL_STORE``, else ``~/.cache/pkt_eval``.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root else store_root()

    def path(self, fingerprint: str) -> Path:
        """Folder of a student, whether or not it is there."""
        return self.root / "students" / fingerprint

    def work(self, fingerprint: str) -> Path:
        """Folder in which an interrupted transfer finds what it had done; it goes once the student is stored."""
        return self.root / "unfinished" / fingerprint

    def get_or_build(self, fingerprint: str, build: Callable[[], Student]) -> Student:
        """The stored student, or the one that ``build`` yields, stored.

        Processes that ask for the same fingerprint at once make one transfer: the first builds, the others wait for it.

        Raises:
            StoreError: The store cannot be written; the message names the folder and what to set.
        """
        path = self.path(fingerprint)
        lock = self._lock(path)
        try:
            if (path / MANIFEST).exists():
                try:
                    student = load_student(path)
                    log.info("student %s loaded from %s", fingerprint[:12], path)
                    return student
                except StoreError as error:
                    log.warning("stored student %s is damaged (%s); it is rebuilt", fingerprint[:12], error)
            student = build()
            self._write(path, student)
            shutil.rmtree(self.work(fingerprint), ignore_errors=True)
            return student
        finally:
            lock.release()

    def _lock(self, path: Path) -> FileLock:
        """The student's lock, taken; says so if it has to wait."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.warning("another process is making student %s; waiting for it", path.name[:12])
                lock.acquire()
        except OSError as error:
            raise StoreError(
                f"cannot write the store of students {self.root}: {error}. Set PKT_EVAL_STORE to a writable folder."
            ) from error
        return lock

    def _write(self, path: Path, student: Student) -> None:
        try:
            with new_folder(path, replace=True) as temporary:
                student.save(temporary)
        except StoreError as error:
            raise StoreError(f"cannot keep the student: {error}; or set PKT_EVAL_STORE to another folder") from error
