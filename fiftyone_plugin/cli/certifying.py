"""Commands for decisions that others rely on: accept in bulk with a promise, reviewers, and errata."""

from __future__ import annotations

import argparse

from ..wording import count
from .arguments import Commands, dataset_arguments, open_samples, plain


def _bulk_arguments(parser: argparse.ArgumentParser) -> None:
    from ..quality import KINDS
    from ..quality.certainty.bulk_acceptance import ALLOWED, CONFIDENCE

    parser.add_argument("action", choices=["begin", "report", "accept", "undo"], help="begin draws what to decide on")
    dataset_arguments(parser)
    parser.add_argument("--key", default="label_quality", help="of the run")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="only regions of these kinds (default: all together)")
    parser.add_argument("--allowed", type=float, default=ALLOWED, help="share of mistakes among accepted regions")
    parser.add_argument("--confidence", type=float, default=CONFIDENCE, help="probability with which that must hold")
    parser.add_argument("--restart", action="store_true", help="begin: draw anew where there is a draw")
    parser.add_argument("--reviewer", help="who accepts them")
    parser.set_defaults(run=_bulk)


def _reviewers_arguments(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--key", default="label_quality", help="of the run")
    parser.add_argument("--truth-field", help="Segmentation field with the truth, if there is one")
    parser.set_defaults(run=_reviewers)


def _bulk(options: argparse.Namespace) -> int:
    from ..workflows.certifying import bulk_acceptance

    samples, key = open_samples(options), options.key
    which = {"key": key, "kinds": options.kinds or None}
    if options.action == "undo":
        number = bulk_acceptance.undo_accept_in_bulk(samples, key=key, reviewer=options.reviewer)
        print(f"{count(number, 'region', 'are')} pending again")
        return 0
    if options.action == "begin":
        risk = {"allowed": options.allowed, "confidence": options.confidence, "restart": options.restart}
        report = bulk_acceptance.begin_bulk_review(samples, **which, **risk)
    elif options.action == "accept":
        report = bulk_acceptance.accept_in_bulk(samples, **which, reviewer=options.reviewer)
    else:
        report = bulk_acceptance.bulk_review_report(samples, **which)
    print(plain(report.markdown()))
    return 0


def _reviewers(options: argparse.Namespace) -> int:
    from ..workflows.certifying.reviewers import reviewers_report

    report = reviewers_report(open_samples(options), key=options.key, truth_field=options.truth_field)
    print(plain(report.markdown()))
    return 0


def _errata_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="action")
    make = actions.add_parser("make", help="write what was corrected")
    make.add_argument("file", help="JSON file to write")
    _field_arguments(make)
    _key_argument(make)
    make.add_argument("--csv", metavar="FILE", help="also a list for a spreadsheet")
    make.add_argument("--coco", metavar="FILE", help="also COCO annotations")
    make.set_defaults(run=_make_errata)
    apply = actions.add_parser("apply", help="apply a file to the corrected labels of a dataset")
    apply.add_argument("file", help="errata file")
    _field_arguments(apply)
    apply.add_argument("--trusted", help="public key by which the file must be signed")
    apply.add_argument("--reviewer", help="who applies it, where a repair names nobody")
    apply.set_defaults(run=_apply_errata)
    merge = actions.add_parser("merge", help="put two files together")
    merge.add_argument("first", help="errata file that counts where both differ")
    merge.add_argument("second", help="another errata file")
    merge.add_argument("output", help="file to write")
    _key_argument(merge)
    merge.set_defaults(run=_merge_errata)


def _field_arguments(parser: argparse.ArgumentParser) -> None:
    dataset_arguments(parser)
    parser.add_argument("--label-field", default="ground_truth", help="field that is corrected")


def _key_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", help="file with an Ed25519 private key (PEM) to sign with")


def _make_errata(options: argparse.Namespace) -> int:
    from ..workflows.certifying.errata import make_errata

    further = {"key": options.key, "csv": options.csv, "coco": options.coco}
    print(plain(make_errata(open_samples(options), options.file, options.label_field, **further).markdown()))
    return 0


def _apply_errata(options: argparse.Namespace) -> int:
    from ..workflows.certifying.errata import apply_errata

    further = {"trusted": options.trusted, "reviewer": options.reviewer}
    print(plain(apply_errata(open_samples(options), options.file, options.label_field, **further).markdown()))
    return 0


def _merge_errata(options: argparse.Namespace) -> int:
    from ..workflows.certifying.errata import merge_errata

    print(plain(merge_errata(options.first, options.second, options.output, key=options.key).markdown()))
    return 0


COMMANDS: Commands = {
    "bulk": (
        "accept many issue regions after a few decisions, with few mistakes among them",
        _bulk_arguments,
    ),
    "reviewers": ("how reliable the people are who decide on issue regions", _reviewers_arguments),
    "errata": ("repairs as a small file that others can apply", _errata_arguments),
}
