"""Commands that look at labels without a model, and clean them."""

from __future__ import annotations

import argparse

from .arguments import Commands, dataset_arguments, open_samples, parse_ignore_index, plain


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--mute", nargs="*", help="codes to leave out (default: as the last time)")
    parser.add_argument("--key", default="label_check", help="name of the field of codes; an earlier one is replaced")
    parser.set_defaults(run=_check)


def _clean_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--codes", nargs="+", help="what to clean (default: all three)")
    parser.add_argument("--undo", action="store_true", help="take back what was cleaned")
    parser.set_defaults(run=_clean)


def _common(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="Segmentation field")
    parser.add_argument("--ignore-index", nargs="*", default="auto", help="mask values or classes to leave out")
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


COMMANDS: Commands = {
    "check": ("list what is wrong with labels, without a model", _check_arguments),
    "clean": ("clean specks, pinholes and blended borders in the corrected labels", _clean_arguments),
}
