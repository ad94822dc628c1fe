"""Commands for correcting labels: plan questions, take answers into the labels, export, and start from no labels."""

from __future__ import annotations

import argparse

from ..errors import LabelQualityError
from ..options import about
from .arguments import Commands, chosen_options, dataset_arguments, open_samples, option_arguments, plain


def _superpixels_arguments(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument(
        "--method", default="slic", choices=["sam", "slic", "felzenszwalb", "instances", "labels"], help="how to cut"
    )
    parser.add_argument("--checkpoint", help="of SAM, for sam: a file, folder or name")
    parser.add_argument("--source-field", help="for instances and labels")
    parser.add_argument("--size", type=int, help="pixels per superpixel (default: 175 per image)")
    parser.add_argument("--key", default="superpixels", help="name of the new field")
    parser.add_argument("--output-dir", help="folder of the files (default: beside FiftyOne's)")
    parser.add_argument("--engine", default="local", choices=["local", "ray"], help="where the job runs")
    parser.add_argument("--workers", type=int, help="on the cluster (default: as many as it has room for)")
    parser.add_argument("--overwrite", action="store_true", help="replace a run under the same key")
    parser.set_defaults(run=_superpixels)


def _superpixels(options: argparse.Namespace) -> int:
    from ..workflows.starting.superpixels import compute_superpixels

    names = ("method", "checkpoint", "source_field", "size", "key", "output_dir", "engine", "workers", "overwrite")
    report = compute_superpixels(open_samples(options), **{name: getattr(options, name) for name in names})
    print(plain(report.markdown()))
    return 0


_PLANNING = (
    "superpixels", "superpixel_method", "superpixel_size", "budget", "acquisition", "audits", "propagate",
    "propagate_wrong", "recheck", "hidden", "missed_objects", "expansion", "class_mapping", "unmatched", "on_edited",
    "ignore_index", "output_dir", "batch_size", "engine", "workers", "seed",
)  # fmt: skip


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="key of a training run, model folder or file, torchvision:..., zoo:...")
    source.add_argument("--probabilities", help="string field or folder with npy, npz or zarr files")
    source.add_argument("--predictions", help="second Segmentation field")
    from ..workflows.correcting.plan_options import PlanOptions

    option_arguments(parser, PlanOptions, _PLANNING)
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from ..workflows.correcting.query_planning import plan_correction_queries

    source = {name: getattr(options, name) for name in ("model", "probabilities", "predictions")}
    report = plan_correction_queries(
        open_samples(options), options.label_field, **source, **chosen_options(options, _PLANNING)
    )
    print(plain(report.markdown()))
    return 0


def _apply_arguments(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    parser.add_argument(
        "--on-edited",
        default="refuse",
        choices=["refuse", "replay", "discard"],
        help="what to do about labels that were edited since they were asked about",
    )
    parser.add_argument("--export", metavar="FOLDER", help="write PNG masks named like the images")
    parser.set_defaults(run=_apply)


def _apply(options: argparse.Namespace) -> int:
    from ..workflows.correcting.corrected_labels import apply_corrections, export_corrected_labels

    samples = open_samples(options)
    report = apply_corrections(samples, options.label_field, on_edited=options.on_edited)
    print(plain(report.markdown()))
    if options.export:
        print(f"Exported: {export_corrected_labels(samples, options.export, options.label_field)}")
    return 0


_PSEUDO_LABELS = (
    "checkpoint", "box_threshold", "unpainted", "nms_iou", "min_area", "write_confidence", "batch_size", "output_dir",
)  # fmt: skip


def _pseudo_labels_arguments(parser: argparse.ArgumentParser) -> None:
    from ..workflows.starting.pseudo_label_options import SOURCES, PseudoLabelOptions

    dataset_arguments(parser)
    parser.add_argument("--classes", nargs="+", help="names; with wordings to look for: person=person,pedestrian")
    source = parser.add_mutually_exclusive_group(required=True)
    for name in SOURCES:
        source.add_argument(f"--{name}", help=about(PseudoLabelOptions, name).text)
    option_arguments(parser, PseudoLabelOptions, _PSEUDO_LABELS)
    parser.add_argument("--key", default="pseudo_labels", help="name of the new field")
    parser.add_argument("--overwrite", action="store_true", help="replace a run under the same key")
    parser.set_defaults(run=_pseudo_labels)


def _pseudo_labels(options: argparse.Namespace) -> int:
    from ..workflows.starting.pseudo_label_options import SOURCES
    from ..workflows.starting.pseudo_labels import generate_pseudo_labels

    names = (*SOURCES, *_PSEUDO_LABELS, "key", "overwrite")
    report = generate_pseudo_labels(
        open_samples(options), parse_classes(options.classes), **{name: getattr(options, name) for name in names}
    )
    print(plain(report.markdown()))
    return 0


def parse_classes(words: list[str] | None) -> dict[str, list[str]] | list[str] | None:
    """Class names, with the wordings to look for where they are given.

    Raises:
        LabelQualityError: if a name is given twice

    Example:
        >>> parse_classes(["person=person,pedestrian", "car"])
        {'person': ['person', 'pedestrian'], 'car': ['car']}
    """
    if not words or not any("=" in word for word in words):
        return words or None
    named: dict[str, list[str]] = {}
    for word in words:
        name, _, wordings = word.partition("=")
        if name in named:
            raise LabelQualityError(f"Expected each class once, but got {name!r} twice")
        named[name] = [one for one in wordings.split(",") if one] or [name]
    return named


COMMANDS: Commands = {
    "superpixels": ("cut images into the parts that questions are about", _superpixels_arguments),
    "plan-queries": ("plan the questions whose answers repair most", _plan_arguments),
    "apply-corrections": ("bring corrected labels in line with the answers, and export", _apply_arguments),
    "pseudo-labels": ("label images from class names, by a detector and SAM", _pseudo_labels_arguments),
}
