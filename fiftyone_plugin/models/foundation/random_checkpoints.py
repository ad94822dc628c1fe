"""Checkpoints of random weights: a workflow can be tried, tested and timed before the real weights are at hand."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .sam_architecture import TINY, SamSizes, build_sam


def save_random_sam(path: str | Path, sizes: SamSizes = TINY, seed: int = 0) -> Path:
    """Write a SAM checkpoint of random weights; its masks mean nothing.

    Args:
        path: .pth file
        sizes: of the network; `SamSizes()` is a full vit_b
        seed: of the weights

    Returns:
        the path

    Example:
        >>> import tempfile
        >>> save_random_sam(Path(tempfile.mkdtemp()) / "tiny.pth").stat().st_size < 1e6
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_sam(sizes)
        for name, value in network.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:  # zero at first, which would hide a wrong position
                torch.nn.init.normal_(value, std=0.2)
    torch.save(network.state_dict(), path)
    return Path(path)


def save_random_detector(folder: str | Path, words: Iterable[str], seed: int = 0) -> Path:
    """Write a tiny GroundingDINO checkpoint of random weights with its processor; its boxes mean nothing.

    Args:
        folder: made if need be
        words: that the tokenizer knows besides its special tokens; pieces inside a word begin with ##
        seed: of the weights

    Returns:
        the folder, as `save_pretrained` of transformers writes it

    Example:
        >>> import tempfile
        >>> (save_random_detector(tempfile.mkdtemp(), ["cat"]) / "config.json").is_file()
        True
    """
    transformers: Any = import_module("transformers")  # its types hide names that it makes when they are asked for
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [*_bert_special_tokens(), *dict.fromkeys(words)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizerFast.from_pretrained(str(folder))
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 128})
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16,
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=12,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.GroundingDinoForObjectDetection(config)
    network.save_pretrained(folder)
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def _bert_special_tokens() -> list[str]:
    """Special tokens at the numbers that GroundingDINO takes for granted: those of BERT's uncased vocabulary."""
    vocabulary = [f"[unused{number}]" for number in range(1030)]
    for number, token in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}.items():
        vocabulary[number] = token
    vocabulary[1012], vocabulary[1029] = ".", "?"
    return vocabulary
