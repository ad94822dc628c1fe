"""Stages on a Ray cluster: Ray Data hands parts of the samples to actors, each of which opens the job once.

A part whose worker or node dies is given to another one. The stages write each file in one step and skip what is done,
so nothing is written twice or lost.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from ...errors import LabelQualityError
from .engine import Stage

_PACKAGE = "fiftyone_plugin"
_MOST_BLOCKS = 5_000
"""Pieces of work that the cluster keeps account of; with more parts than that, a piece is several of them."""


def open_ray(workers: int | None) -> RayEngine:
    """Find the cluster that this process belongs to.

    Args:
        workers: how many actors at most; None for as many as the cluster has room for

    Returns:
        the engine

    Raises:
        LabelQualityError: if Ray is not installed or not connected, or workers could not import this package
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise LabelQualityError(
            f"Expected Ray for `engine='ray'`, but it is not installed ({error}); run "
            "`pip install 'fiftyone-label-quality[ray]'` on all machines"
        ) from error
    if __name__.split(".")[0] != _PACKAGE:
        raise LabelQualityError(
            f"Expected the package {_PACKAGE} for `engine='ray'`, but the App has loaded the plugin as {__name__!r}, "
            "which workers cannot import; `pip install` the package on all machines and call it from Python"
        )
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError as error:
            raise LabelQualityError(
                f"Expected a Ray cluster for `engine='ray'`, but this machine belongs to none ({error}); run "
                "`ray start --head` here and `ray start --address=...` on the others, or call `ray.init` first"
            ) from error
    return RayEngine(workers)


@dataclass(frozen=True)
class RayEngine:
    """Runs a stage by actors of Ray Data, part by part.

    Attributes:
        workers: how many actors at most; None for as many as the cluster has room for
    """

    workers: int | None = None

    def run(self, stage: Stage, job: Any, parts: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results of one part after the other, whichever is finished first."""
        import ray

        rows = [{"part": pickle.dumps(list(part))} for part in parts]
        if len(rows) <= 1:  # done here before a worker would have begun
            yield from stage(job, pickle.loads(rows[0]["part"]) if rows else [])
            return
        needs = job.resources()
        most = room(ray.nodes(), needs)
        if not most:
            raise LabelQualityError(
                f"Expected a node with {needs} for a worker, but none of {len(ray.nodes())} has that; add one, or call "
                "`torch.set_num_threads` with fewer threads, or pass `device='cpu'`"
            )
        workers = min(self.workers or most, most, len(rows))
        environment = {"env_vars": database_variables()}
        with _quiet():
            results = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map(
                cast(Any, Worker),  # a class of callables, which Ray's annotation does not know
                fn_constructor_args=(packed(stage, job),),
                compute=ray.data.ActorPoolStrategy(size=workers),
                runtime_env=environment,
                **needs,  # actors are restarted and their tasks tried again unless Ray Data is told otherwise
            )
            try:
                for row in results.iter_rows():
                    yield from pickle.loads(row["results"])
            except ray.exceptions.RayError as error:
                raise LabelQualityError(f"A worker of the cluster failed: {error}") from error


class Worker:
    """One actor: opens the job once, then does part after part.

    Args:
        packed_job: of `packed`
    """

    def __init__(self, packed_job: bytes) -> None:
        self.stage, self.job = pickle.loads(packed_job)

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """Do one part; part and results travel as bytes, so that Ray Data need not understand them."""
        return {"results": pickle.dumps(list(self.stage(self.job, pickle.loads(row["part"]))))}


def packed(stage: Stage, job: Any) -> bytes:
    """Pack a stage and its job for other machines.

    Args:
        stage: what to do
        job: what it needs

    Returns:
        what a `Worker` takes

    Raises:
        LabelQualityError: if the job has a model that cannot be sent
    """
    from ray import cloudpickle

    try:
        found: bytes = cloudpickle.dumps((stage, job))
    except Exception as error:  # a model may raise anything here
        raise LabelQualityError(
            f"Expected a model that can be sent to other machines, but it cannot ({type(error).__name__}: {error}); "
            "pass a folder or file that all of them see, or a name"
        ) from error
    return found


def room(nodes: Sequence[Mapping[str, Any]], needs: Mapping[str, float]) -> int:
    """Count the workers that a cluster holds.

    Args:
        nodes: as `ray.nodes()` tells
        needs: of one worker, `num_cpus` and `num_gpus`

    Returns:
        how many; a worker is on one node

    Example:
        >>> nodes = [{"Alive": True, "Resources": {"CPU": 3.0}}, {"Alive": True, "Resources": {"CPU": 1.0}}]
        >>> room(nodes, {"num_cpus": 2})
        1
    """
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(min(found.get(names[name], 0) // amount for name, amount in needs.items())) for found in alive)


def database_variables() -> dict[str, str]:
    """Settings by which FiftyOne of another process finds the database of this one."""
    import fiftyone as fo
    from fiftyone.core.odm import get_db_conn

    host, port = get_db_conn().client.address
    uri = fo.config.database_uri or f"mongodb://{host}:{port}/"
    return {"FIFTYONE_DATABASE_URI": uri, "FIFTYONE_DATABASE_NAME": fo.config.database_name}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray Data from drawing bars of its own beside the job's."""
    from ray.data import DataContext

    context = DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = before
