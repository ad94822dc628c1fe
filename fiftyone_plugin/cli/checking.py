"""Commands that look at labels without a model, and clean them."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import dataset_arguments, open_samples, parse_ignore_index, plain


def add_checking_commands(commands: Any) -> None:
    """Add the commands.

    Args:
        commands: subparsers of the command line
    """
    check = commands.add_parser("check", help="list what is wrong with labels, without a model")
    _common(check)
    check.add_argument("--mute", nargs="*", help="codes to leave out (default: as the last time)")
    check.add_argument("--key", default="label_check", help="(default: %(default)s)")
    check.set_defaults(run=_check)
    clean = commands.add_parser("clean", help="clean specks, pinholes and blended borders in the corrected labels")
    _common(clean)
    clean.add_argument("--codes", nargs="+", help="what to clean (default: all three)")
    clean.add_argument("--undo", action="store_true", help="take back what was cleaned")
    clean.set_defaults(run=_clean)


def _common(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="(default: %(default)s)")
    parser.add_argument("--ignore-index", nargs="*", default="auto")
    parser.add_argument("--max-speck-area", type=int, help="pixels (default: 2 to 12, by the size of the image)")


def _check(options: argparse.Namespace) -> int:
    from ..workflows.checking.check_labels import check_labels

    report = check_labels(
        open_samples(options),
        options.label_field,
        mute=options.mute,
        ignore_index=parse_ignore_index(options.ignore_index),
        max_speck_area=options.max_speck_area,
        key=options.key,
    )
    print(plain(report.markdown()))
    return 0


def _clean(options: argparse.Namespace) -> int:
    from ..workflows.correcting.clean_labels import clean_labels, undo_clean_labels

    codes = {"codes": options.codes} if options.codes else {}
    samples = open_samples(options)
    if options.undo:
        report = undo_clean_labels(samples, options.label_field, **codes)
    else:
        ignored = parse_ignore_index(options.ignore_index)
        report = clean_labels(
            samples, options.label_field, ignore_index=ignored, max_speck_area=options.max_speck_area, **codes
        )
    print(plain(report.markdown()))
    return 0
