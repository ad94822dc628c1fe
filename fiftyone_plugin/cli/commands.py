"""The `label-quality` command: the jobs of the plugin from a terminal."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import LabelQualityError
from ..workflows.scoring.plan import ScoringOptions
from ..workflows.training.noise_robust_options import NoiseRobustOptions
from .arguments import chosen_options, dataset_arguments, open_samples, option_arguments, parse_ignore_index, plain
from .checking import add_checking_commands
from .correction import add_correction_commands


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
    except LabelQualityError as error:
        print(f"label-quality: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="label-quality", description="Label quality of segmentation datasets in FiftyOne"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    add_checking_commands(commands)
    _score_parser(commands)
    _train_parser(commands)
    _noise_robust_parser(commands)
    add_correction_commands(commands)
    _runs_parsers(commands)
    _plugin_parser(commands)
    return parser


_SCORING = (
    "score", "methods", "key", "ignore_index", "class_mapping", "unmatched", "temperature", "from_logits", "write_map",
    "write_issues", "write_regions", "min_region_area", "max_regions_per_image", "output_dir", "batch_size",
    "overwrite", "resume",
)  # fmt: skip


def _score_parser(commands: Any) -> None:
    score = commands.add_parser("score", help="score the labels of a dataset")
    dataset_arguments(score)
    score.add_argument("--label-field", default="ground_truth", help="(default: %(default)s)")
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


def _train_parser(commands: Any) -> None:
    from ..workflows.training.methods import FINE_TUNED, METHODS

    train = commands.add_parser("train", help="train with cross-validation")
    _training_arguments(train, key="cross_validation")
    train.add_argument("--method", choices=list(METHODS), default=FINE_TUNED, help="(default: %(default)s)")
    train.set_defaults(run=_train)


def _training_arguments(parser: argparse.ArgumentParser, key: str) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="(default: %(default)s)")
    parser.add_argument("--key", default=key, help="(default: %(default)s)")
    parser.add_argument("--folds", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--architecture", help="(default: unet)")
    parser.add_argument("--encoder", help="(default: resnet18; for frozen features EfficientNet-Lite)")
    parser.add_argument("--weights", default="imagenet", help="imagenet, none, or a file (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="(default: 20)")
    parser.add_argument("--ignore-index", nargs="*", default="auto")
    parser.add_argument("--output-dir")
    parser.add_argument("--overwrite", action="store_true")


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


def _noise_robust_parser(commands: Any) -> None:
    train = commands.add_parser("train-noise-robust", help="train on noisy labels and propose corrected ones")
    _training_arguments(train, key="noise_robust")
    option_arguments(train, NoiseRobustOptions, _ROBUST)
    train.set_defaults(run=_train_noise_robust)


def _train_noise_robust(options: argparse.Namespace) -> int:
    from ..workflows.training.noise_robust import train_noise_robust

    own = chosen_options(options, _ROBUST)
    report = train_noise_robust(open_samples(options), options.label_field, **own, **_training_options(options))
    print(plain(report.markdown()))
    return 0


def _runs_parsers(commands: Any) -> None:
    listing = commands.add_parser("runs", help="list the runs on a dataset")
    listing.add_argument("dataset")
    listing.set_defaults(run=_list_runs)
    delete = commands.add_parser("delete", help="delete a run with everything it wrote")
    delete.add_argument("dataset")
    delete.add_argument("key")
    delete.set_defaults(run=_delete_run)


def _list_runs(options: argparse.Namespace) -> int:
    from ..workflows.housekeeping import list_label_quality_runs

    for run in list_label_quality_runs(open_samples(options)):
        print(f"{run.key}\t{run.method}\t{run.label_field}\t{', '.join(run.fields)}")
    return 0


def _delete_run(options: argparse.Namespace) -> int:
    from ..workflows.housekeeping import delete_label_quality_run

    record = delete_label_quality_run(open_samples(options), options.key)
    print(f"Deleted {record.key}: fields {', '.join(record.fields)}")
    return 0


def _plugin_parser(commands: Any) -> None:
    plugin = commands.add_parser("install-plugin", help="put the plugin into FiftyOne's plugins folder")
    plugin.add_argument("--overwrite", action="store_true", help="replace an installed version")
    plugin.set_defaults(run=_install_plugin)


def _install_plugin(options: argparse.Namespace) -> int:
    import fiftyone as fo

    from ..plugin_folder import install_plugin

    print(f"Installed: {install_plugin(fo.config.plugins_dir, overwrite=options.overwrite)}")
    return 0
