"""Writing a run so that it is never stuck: registered before its first file, replaced in steps that can be repeated.

Killed at any moment, a run is finished, or unfinished and known by its record; then the same call resumes it, another
one replaces it, and deleting removes it with all that it had written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...progress import Progress
from .claims import Claim, claim
from .files import RunFolder, claim_folder, disk_in_words
from .run_records import (
    RunRecord,
    dataset_id,
    find_run,
    forget_run,
    own_folders,
    register_run,
    remove_results,
    require_free_key,
)
from .seen_labels import follow_renames
from .shared_files import remove_left_files


@dataclass(eq=False)
class RunWriting:
    """A run that is being written, from `write_run`.

    Attributes:
        dataset: the `fiftyone.Dataset`
        files: folder of its files; None for a run that writes none
        claim: that nobody else writes it
    """

    dataset: Any
    files: RunFolder | None
    claim: Claim
    _planned: RunRecord
    _replaced: bool = False
    _left: list[str] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        """The folder of its files, which a run without files has not."""
        if self.files is None:
            raise ValueError(f"The run {self._planned.key!r} writes no files")
        return self.files

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return self.folder.path

    def watched(self, progress: Progress) -> Progress:
        """Progress that stops the job where somebody else has taken the run over."""
        return self.claim.watched(progress)

    def replace_results(self, views: list[str]) -> None:
        """Take away what an earlier run under the key has left, just before the first field is written.

        Args:
            views: names of the saved views that will be made
        """
        self.claim.check()
        self._replaced = True
        key, planned = self._planned.key, replace(self._planned, views=views)
        own = self.files.path if self.files else None
        before = find_run(self.dataset, key, unfinished=True)
        if before is None:
            register_run(self.dataset, planned)
            return
        everything = replace(
            planned,
            fields=_union(before.fields, planned.fields),
            views=_union(before.views, views),
            folders=[str(folder) for folder in own_folders(self.dataset, before) if folder != own],
        )
        register_run(self.dataset, everything)
        left = remove_results(self.dataset, replace(everything, dataset_id=dataset_id(self.dataset)), keep=own)
        self._left = [str(folder) for folder in left]  # deleting the run names them
        register_run(self.dataset, replace(planned, folders=self._left))

    def finish(self, record: RunRecord) -> None:
        """Note that all of it is written.

        Args:
            record: what there is to know about the run
        """
        self.claim.check()
        if self.files is not None:
            self.files.finish()
        register_run(self.dataset, replace(record, folders=self._left))  # last: from now on nothing is done again


@contextmanager
def write_run(
    dataset: Any,
    planned: RunRecord,
    base: Path | None,
    fingerprint: Mapping[str, Any],
    *,
    overwrite: bool,
    resume: bool = True,
) -> Iterator[RunWriting]:
    """Register a run as unfinished and find the folder of its files; nobody else can write it meanwhile.

    A job that fails before `replace_results` leaves the dataset as it was; what it has computed stays in the folder for
    the next call.

    Args:
        dataset: the `fiftyone.Dataset`
        planned: key, method, label field and all fields that will be written
        base: the wanted folder; None for a run that writes no files
        fingerprint: everything that decides the results, see `claim_folder`
        overwrite: whether a finished run of the same method under this key may be replaced
        resume: whether to go on with an interrupted run

    Yields:
        the run to write

    Raises:
        LabelQualityError: if somebody else is writing it, or the key is not free
    """
    key = planned.key
    with claim(dataset, key) as held, disk_in_words():
        dataset._doc.reload("runs")  # what others have written since it was loaded
        follow_renames(dataset)
        remove_left_files()
        require_free_key(dataset, key, planned.fields, overwrite=overwrite, method=planned.method)
        before = find_run(dataset, key, unfinished=True)
        owned = before is not None and before.dataset_id == dataset_id(dataset)
        there = before.output_dir if before is not None and owned else None
        planned = replace(planned, output_dir=None, finished=False, folders=[])
        undo: list[Callable[[], None]] = []

        def announce(path: Path | None) -> None:
            nonlocal planned
            planned = replace(planned, output_dir=str(path) if path else None)
            undo[:] = [_register(dataset, planned, before)]

        run: RunWriting | None = None
        try:
            folder = None
            if base is not None:
                folder = claim_folder(
                    base,
                    f"{dataset_id(dataset)}/{key}",
                    dict(fingerprint),
                    first=there if before is not None and not before.finished else None,
                    in_use=there if before is not None and before.finished else None,
                    resume=resume,
                    announce=announce,
                )
            else:
                announce(None)
            run = RunWriting(dataset, folder, held, planned)
            yield run
        except BaseException:
            if run is None or not run._replaced:
                with suppress(Exception):  # the database may be what failed
                    for step in undo:
                        step()
            raise


def _register(dataset: Any, planned: RunRecord, before: RunRecord | None) -> Callable[[], None]:
    """Note that the run has begun; what makes that undone."""
    if before is None:
        register_run(dataset, planned)
        return lambda: forget_run(dataset, planned.key)
    folders = _union(before.folders, [planned.output_dir] if planned.output_dir else [])
    if before.finished:
        begun = replace(before, folders=folders)
    else:
        fields, views = _union(before.fields, planned.fields), _union(before.views, planned.views)
        begun = replace(before, fields=fields, views=views, folders=folders)
    register_run(dataset, begun, touch=False)
    return lambda: register_run(dataset, before, touch=False)


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
