"""The jobs from a terminal: same names, same results, errors in one line."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from fiftyone_plugin.cli import certifying, checking, commands, correction
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.progress import terminal_bar


def test_score_list_and_delete(make_dataset, tmp_path, capsys):
    dataset = make_dataset(4, wrong=(1,))
    words = ["score", dataset.name, "--probabilities", "probabilities", "--output-dir", str(tmp_path / "run")]
    assert main([*words, "--methods", "iou", "softmin", "--ignore-index", "void"]) == 0
    said = capsys.readouterr().out
    assert "4 images scored in ground_truth" in said
    assert "score: iou" in said
    dataset.reload()
    assert dataset.sort_by("label_quality_softmin").first().filepath.endswith("1.png")
    assert main(["runs", dataset.name]) == 0
    assert capsys.readouterr().out.startswith("label_quality\tsegmentation_label_quality\tground_truth")
    assert main(["delete", dataset.name, "label_quality"]) == 0
    dataset.reload()
    assert not dataset.has_field("label_quality")


def test_a_second_mask_judges_the_first(make_dataset, tmp_path, capsys):
    dataset = make_dataset(4, wrong=(1,))
    true = make_dataset(4, wrong=())
    dataset.set_values("second", [sample.ground_truth for sample in true])
    words = ["score", dataset.name, "--predictions", "second", "--output-dir", str(tmp_path / "run")]
    assert main([*words, "--ignore-index", "void"]) == 0
    assert "4 images scored" in capsys.readouterr().out
    dataset.reload()
    assert dataset.sort_by("label_quality_softmin").first().filepath.endswith("1.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs", "no-such-dataset"], "no-such-dataset"),
        (["score", "{name}", "--model", "/no/such/model"], "the dataset has no training run yet"),
        (["score", "{name}", "--probabilities", "x", "--key", "no key"], "Expected --key to be letters"),
        (["score", "{name}", "--model", "x", "--label-field", "filepath"], "'filepath' is a field of type StringField"),
        (["delete", "{name}", "nothing"], "there are none"),
    ],
)
def test_errors_are_one_line(make_dataset, capsys, words, message):
    dataset = make_dataset(2)
    assert main([word.format(name=dataset.name) for word in words]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("label-quality: ")
    assert message in told


def test_a_dataset_without_runs_says_how_to_begin(make_dataset, capsys):
    dataset = make_dataset(1)
    assert main(["runs", dataset.name]) == 0
    assert f"label-quality find {dataset.name}" in capsys.readouterr().out


def test_messages_name_options_of_the_command(make_scored, capsys):
    name = make_scored(2).name
    assert main(["score", name, "--probabilities", "x"]) == 1
    assert "pass --overwrite" in capsys.readouterr().err


def test_help_is_there_at_once_and_has_every_default():
    code = (
        "import sys; from contextlib import suppress; from fiftyone_plugin.cli.commands import main\n"
        "for words in (['--help'], ['score', '--help'], ['find', '--help'], ['train', '--help']):\n"
        "    with suppress(SystemExit): main(words)\n"
        "print([name for name in ('torch', 'fiftyone', 'numba', 'scipy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("\n[]\n")
    for name in (
        *checking.COMMANDS,
        *commands._COMMANDS,
        *correction.COMMANDS,
        *certifying.COMMANDS,
        *commands._UPKEEP,
    ):
        with pytest.raises(SystemExit), redirect_stdout(io.StringIO()) as shown:
            main([name, "--help"])
        options = [" ".join(one.split()) for one in re.split(r"\n  (?=-)", shown.getvalue())[2:]]
        silent = [one.split()[0] for one in options if "default" not in one and "if omitted" not in one]
        assert silent == [], name


def test_progress_into_a_file_is_a_line_now_and_then(capsys):
    with terminal_bar("scoring") as progress:
        for done in range(1, 101):
            progress(done, 100, "scoring")
        progress(0, 2, "writing")
    assert capsys.readouterr().err.splitlines() == ["scoring: 1 of 100", "scoring: 100 of 100", "writing: 0 of 2"]


def test_unknown_commands_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["improve"])
    assert "invalid choice" in capsys.readouterr().err


def test_from_superpixels_to_corrected_pngs(make_dataset, tmp_path, capsys):
    from fiftyone_plugin import open_sitting

    dataset = make_dataset(4, wrong=(1,))
    assert main(["superpixels", dataset.name, "--size", "60", "--output-dir", str(tmp_path / "s")]) == 0
    assert "4 images have superpixels" in capsys.readouterr().out
    words = ["plan-queries", dataset.name, "--probabilities", "probabilities", "--superpixels", "superpixels"]
    assert main([*words, "--budget", "5", "--audits", "0", "--output-dir", str(tmp_path / "p")]) == 0
    assert "Round 1: 5 questions" in capsys.readouterr().out
    sitting = open_sitting(dataset, "ground_truth", sitting_id="terminal")
    sitting.correct("tree")
    sitting.close()
    assert main(["apply-corrections", dataset.name, "--export", str(tmp_path / "out")]) == 0
    assert "4 pending, 0 confirmed, 1 corrected" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_pseudo_labels_from_masks_on_the_dataset(make_dataset, tmp_path, capsys):
    import fiftyone as fo
    import numpy as np

    dataset = make_dataset(2)
    sample = dataset.first()
    sample["found"] = fo.Detections(
        detections=[fo.Detection(label="van", bounding_box=[0, 0, 0.5, 0.5], mask=np.ones((1, 1), bool))]
    )
    sample.save()
    words = ["pseudo-labels", dataset.name, "--instances", "found", "--classes", "car=car,van", "person"]
    assert main([*words, "--output-dir", str(tmp_path / "l")]) == 0
    out = capsys.readouterr().out
    assert "2 images have pseudo labels" in out
    assert "Never found: person" in out
