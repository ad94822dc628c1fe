"""`python -m demo`: the main job on rendered scenes with known label errors, in a database of its own."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo.drawing import start_drawing
from demo.isolation import isolated_environment
from demo.mongod import MongodError, running_database


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: words after the module's name; those of the process if None

    Returns:
        the exit code: 0, or 1 after an error that was explained
    """
    options = _parser().parse_args(arguments)
    folder = Path(options.folder).resolve()
    try:
        # Before fiftyone is imported: a database server, settings and plugins of the demo's own.
        with running_database(isolated_environment(folder), instead=os.environ.get("FIFTYONE_DATABASE_URI")) as own:
            os.environ.clear()
            os.environ.update(own)
            return _run(folder, options)
    except MongodError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--no-app", action="store_true", help="end without opening the FiftyOne App")
    parser.add_argument("--folder", default="label-quality-demo", help="where everything goes (default: %(default)s)")
    parser.add_argument("--images", type=int, default=64, help="scenes to render (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="models to train (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="training steps per model (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=51, help="of errors and training (default: %(default)s)")
    parser.add_argument("--port", type=int, help="of the App (default: 5151, or another if that is taken)")
    parser.add_argument("--address", default=None, help="of the App; 0.0.0.0 opens it to other machines")
    return parser


def _run(folder: Path, options: argparse.Namespace) -> int:
    print("Drawing scenes and starting FiftyOne with a database of its own ...", file=sys.stderr, flush=True)
    drawn = start_drawing(folder, options.images)
    from demo.run import run_demo
    from fiftyone_plugin.cli.arguments import plain
    from fiftyone_plugin.errors import LabelQualityError

    try:
        found = run_demo(drawn, folder, folds=options.folds, steps=options.steps, seed=options.seed)
    except LabelQualityError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(f"\n{plain(found.report.markdown())}\n\n{found.result.text()}\n({found.seconds:.0f} s)", flush=True)
    return 0 if options.no_app else _open_app(found.dataset, found.report, options)


def _open_app(dataset: Any, report: Any, options: argparse.Namespace) -> int:
    import fiftyone as fo

    view = dataset.load_saved_view(report.views[0])
    session = fo.launch_app(view=view, remote=True, port=options.port, address=options.address)
    print(f"The FiftyOne App shows the worst images first: {session.url}\nPress Ctrl+C to end.", flush=True)
    if not options.address:
        webbrowser.open_new_tab(session.url)
    session.wait(-1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
