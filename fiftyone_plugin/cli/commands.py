"""The `label-quality` command: the jobs of the plugin from a terminal."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import LabelQualityError, told
from ..wording import as_flags
from . import certifying, checking, correction
from .arguments import (
    CommandParser,
    Commands,
    chosen_options,
    dataset_arguments,
    open_samples,
    option_arguments,
    parse_ignore_index,
    plain,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the command's name; those of the process if None

    Returns:
        the exit code: 0, or 1 after an error that was explained
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # class names in any script are shown in a terminal of any encoding
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (LabelQualityError, FileNotFoundError, PermissionError) as error:
        print(f"label-quality: {as_flags(told(error), options.flags)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("label-quality: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="label-quality", description="Label quality of segmentation datasets in FiftyOne"
    )
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=CommandParser)
    for name, (text, fill) in {
        **checking.COMMANDS,
        **_COMMANDS,
        **correction.COMMANDS,
        **certifying.COMMANDS,
        **_UPKEEP,
    }.items():
        commands.add_parser(name, help=text, description=text, fill=fill)
    return parser


def _find_arguments(find: argparse.ArgumentParser) -> None:
    dataset_arguments(find)
    find.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    find.add_argument("--model", help="as for `score` (default: quick ones are trained)")
    find.add_argument("--key", default="label_quality", help="name of the run and prefix of its fields")
    find.add_argument("--group-field", help="images with equal values (a video, a patient) stay together in training")
    find.add_argument("--output-dir", help="folder of the files (default: beside FiftyOne's)")
    find.add_argument("--overwrite", action="store_true", help="replace a run under the same key")
    find.set_defaults(run=_find)


def _find(options: argparse.Namespace) -> int:
    from ..workflows.finding.label_errors import find_label_errors

    names = ("model", "key", "group_field", "output_dir", "overwrite")
    chosen = {name: getattr(options, name) for name in names}
    print(plain(find_label_errors(open_samples(options), options.label_field, **chosen).markdown()))
    return 0


_SCORING = (
    "score", "methods", "key", "ignore_index", "class_mapping", "unmatched", "temperature", "from_logits", "write_map",
    "write_issues", "write_regions", "min_region_area", "max_regions_per_image", "output_dir", "batch_size",
    "engine", "workers", "overwrite", "resume",
)  # fmt: skip


def _score_arguments(score: argparse.ArgumentParser) -> None:
    from ..workflows.scoring.plan import ScoringOptions

    dataset_arguments(score)
    score.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    source = score.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="key of a training run, model folder or file, torchvision:..., zoo:...")
    source.add_argument("--probabilities", help="string field or folder with npy, npz or zarr files")
    source.add_argument("--predictions", help="second Segmentation field: masks of a model or another annotator")
    option_arguments(score, ScoringOptions, _SCORING)
    score.add_argument("--device", help="cuda, cuda:1, mps, cpu (default: the best there is)")
    score.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from ..workflows.scoring.scoring import score_label_quality

    further = {"device": options.device} if options.device else {}
    report = score_label_quality(
        open_samples(options),
        options.label_field,
        model=options.model,
        probabilities=options.probabilities,
        predictions=options.predictions,
        **chosen_options(options, _SCORING),
        **further,
    )
    print(plain(report.markdown()))
    return 0


def _train_arguments(train: argparse.ArgumentParser) -> None:
    from ..workflows.training.methods import FINE_TUNED, METHODS

    _training_arguments(train, key="cross_validation")
    train.add_argument("--method", choices=list(METHODS), default=FINE_TUNED, help="how to train")
    train.set_defaults(run=_train)


def _training_arguments(parser: argparse.ArgumentParser, key: str) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    parser.add_argument("--key", default=key, help="name of the run and prefix of its fields")
    parser.add_argument("--folds", type=int, default=4, help="how many models")
    parser.add_argument("--architecture", help="of segmentation-models-pytorch (default: unet)")
    parser.add_argument(
        "--encoder", help="network of features (default: resnet18; for frozen features EfficientNet-Lite)"
    )
    parser.add_argument("--weights", default="imagenet", help="imagenet, none, or a file")
    parser.add_argument("--epochs", type=int, help="passes over the images (default: 20)")
    parser.add_argument("--ignore-index", nargs="*", default="auto", help="mask values or classes to leave out")
    parser.add_argument("--output-dir", help="folder of the files (default: beside FiftyOne's)")
    parser.add_argument("--overwrite", action="store_true", help="replace a run under the same key")


def _training_options(options: argparse.Namespace) -> dict[str, Any]:
    named = {name: getattr(options, name) for name in ("architecture", "encoder", "epochs")}
    return {
        "key": options.key,
        "folds": options.folds,
        **{name: value for name, value in named.items() if value is not None},
        "weights": None if options.weights == "none" else options.weights,
        "ignore_index": parse_ignore_index(options.ignore_index),
        "output_dir": options.output_dir,
        "overwrite": options.overwrite,
    }


def _train(options: argparse.Namespace) -> int:
    from ..workflows.training.cross_validated import train_cross_validated

    options_given = {"method": options.method, **_training_options(options)}
    report = train_cross_validated(open_samples(options), options.label_field, **options_given)
    print(plain(report.markdown()))
    return 0


_ROBUST = (
    "variant", "correction", "consistency", "per_class", "threshold", "relative_change", "latest_epoch", "gate",
    "background", "out_of_fold",
)  # fmt: skip


def _noise_robust_arguments(train: argparse.ArgumentParser) -> None:
    from ..workflows.training.noise_robust_options import NoiseRobustOptions

    _training_arguments(train, key="noise_robust")
    option_arguments(train, NoiseRobustOptions, _ROBUST)
    train.set_defaults(run=_train_noise_robust)


def _train_noise_robust(options: argparse.Namespace) -> int:
    from ..workflows.training.noise_robust import train_noise_robust

    own = chosen_options(options, _ROBUST)
    report = train_noise_robust(open_samples(options), options.label_field, **own, **_training_options(options))
    print(plain(report.markdown()))
    return 0


def _runs_arguments(listing: argparse.ArgumentParser) -> None:
    listing.add_argument("dataset", help="name of a FiftyOne dataset")
    listing.set_defaults(run=_list_runs)


def _delete_arguments(delete: argparse.ArgumentParser) -> None:
    delete.add_argument("dataset", help="name of a FiftyOne dataset")
    delete.add_argument("key", help="of the run; `runs` lists them")
    delete.set_defaults(run=_delete_run)


def _list_runs(options: argparse.Namespace) -> int:
    from ..workflows.housekeeping import list_label_quality_runs

    runs = list_label_quality_runs(open_samples(options))
    if not runs:
        print(f"{options.dataset} has no runs yet; begin with: label-quality find {options.dataset}")
    for run in runs:
        print(f"{run.key}\t{run.method}\t{run.label_field}\t{', '.join(run.fields)}")
    return 0


def _delete_run(options: argparse.Namespace) -> int:
    from ..workflows.housekeeping import delete_label_quality_run

    record = delete_label_quality_run(open_samples(options), options.key)
    print("\n".join([f"Deleted {record.key}: fields {', '.join(record.fields)}", *record.left]))
    return 0


def _report_arguments(report: argparse.ArgumentParser) -> None:
    report.add_argument("dataset", help="name of a FiftyOne dataset")
    report.add_argument("path", help="HTML file to write")
    report.add_argument("--key", default="label_quality", help="the scoring run")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from ..workflows.handing_on.html_report import write_report

    print(f"Written: {write_report(open_samples(options), options.path, key=options.key)}")
    return 0


def _issues_arguments(issues: argparse.ArgumentParser) -> None:
    dataset_arguments(issues)
    issues.add_argument("path", help="file to write: .csv, or .json for COCO")
    issues.add_argument("--key", default="label_quality", help="the scoring run")
    issues.add_argument("--statuses", nargs="+", default=["pending", "accepted"], help="which regions")
    issues.add_argument("--tag", help="also tag the samples of these regions so")
    issues.set_defaults(run=_issues)


def _issues(options: argparse.Namespace) -> int:
    from ..workflows.handing_on.issue_lists import export_label_issues

    chosen = {"key": options.key, "statuses": options.statuses, "tag": options.tag}
    print(f"Written: {export_label_issues(open_samples(options), options.path, **chosen)}")
    return 0


def _plugin_arguments(plugin: argparse.ArgumentParser) -> None:
    plugin.add_argument("--overwrite", action="store_true", help="replace an installed version")
    plugin.set_defaults(run=_install_plugin)


def _install_plugin(options: argparse.Namespace) -> int:
    import fiftyone as fo

    from ..plugin_folder import install_plugin

    print(f"Installed: {install_plugin(fo.config.plugins_dir, overwrite=options.overwrite)}")
    return 0


_COMMANDS: Commands = {
    "find": ("find the label errors of a dataset; no model is needed", _find_arguments),
    "score": ("score the labels of a dataset with a model of yours", _score_arguments),
    "train": ("train with cross-validation", _train_arguments),
    "train-noise-robust": ("train on noisy labels and propose corrected ones", _noise_robust_arguments),
}
_UPKEEP: Commands = {
    "report": ("write what a run found into one HTML file", _report_arguments),
    "export-issues": ("write the regions of a run as CSV or COCO", _issues_arguments),
    "runs": ("list the runs on a dataset", _runs_arguments),
    "delete": ("delete a run with everything it wrote", _delete_arguments),
    "install-plugin": ("put the plugin into FiftyOne's plugins folder", _plugin_arguments),
}
