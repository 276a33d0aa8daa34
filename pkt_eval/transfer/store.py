"""Content-addressed students on disk: atomic, locked, checksummed.

A student lies under the fingerprint of everything that decides it. It is written to a temporary folder and renamed, so
that there is never half a student; one process builds while the others wait; a file that does not match its checksum is
said and rebuilt.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from pkt_eval._util.files import new_folder, remove
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
                    _check_name(student, fingerprint)
                    log.info("student %s loaded from %s", fingerprint[:12], path)
                    return student
                except StoreError as error:
                    log.warning("stored student %s is damaged (%s); it is rebuilt", fingerprint[:12], error)
            student = self._build(fingerprint, build)
            self._write(path, student)
            remove(self.work(fingerprint))
            return student
        finally:
            lock.release()

    def _build(self, fingerprint: str, build: Callable[[], Student]) -> Student:
        """The student made, going on from what an interrupted transfer left; anew if that stands in the way."""
        work = self.work(fingerprint)
        try:
            return build()
        except OSError as error:
            if not _is_in_the_way(error, work):
                raise
            log.warning("the unfinished transfer %s cannot be gone on with (%s): it is made anew", work, error)
            remove(work)
            return build()

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


def _check_name(student: Student, fingerprint: str) -> None:
    """A student under another one's name would be served in its place."""
    made = student.provenance
    if made and made.fingerprint is not None and made.fingerprint != fingerprint:
        raise StoreError(f"it is the student {made.fingerprint[:12]}")


def _is_in_the_way(error: OSError, work: Path) -> bool:
    """Whether an error is of a file where a folder of ``work`` should be, or the other way round."""
    cause = error.__cause__ or error
    kinds = (FileExistsError, IsADirectoryError, NotADirectoryError)
    named = [Path(name) for name in (getattr(cause, n, None) for n in ("filename", "filename2")) if name]
    return isinstance(cause, kinds) and any(work in (path, *path.parents) for path in named)
