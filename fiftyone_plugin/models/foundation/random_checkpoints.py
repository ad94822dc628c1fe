"""Checkpoints of random weights: a workflow can be tried, tested and timed before the real weights are at hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .mobile_sam import build_tiny_vit, in_the_authors_names
from .sam_architecture import TINY, SamSizes, build_sam

_SIDE = 128  # of the squares that the tiny networks of transformers see
_PROMPTS = {"hidden_size": 32, "image_size": _SIDE, "patch_size": 16, "mask_input_channels": 4}
_DECODER = {
    "hidden_size": 32, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_depth": 2,
    "iou_head_hidden_dim": 16,
}  # fmt: skip


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


def save_random_mobile_sam(path: str | Path, seed: int = 0) -> Path:
    """Write a small MobileSAM checkpoint of random weights, named as its authors name them; its masks mean nothing.

    Args:
        path: .pt file
        seed: of the weights

    Returns:
        the path

    Example:
        >>> import tempfile
        >>> save_random_mobile_sam(Path(tempfile.mkdtemp()) / "tiny.pt").stat().st_size < 1e6
        True
    """
    sizes = replace(TINY, image_size=1024)
    shapes = {"conv3": {0: 8}, "local_conv": {1: 8, 2: 8, 3: 16}}
    like = {
        f"image_encoder.body.stages.{stage}.blocks.0.{conv}.conv.weight": torch.empty(width, 1, 1, 1)
        for conv, widths in shapes.items()
        for stage, width in widths.items()
    }
    for stage in (1, 2, 3):
        like[f"image_encoder.body.stages.{stage}.blocks.0.attn.attention_biases"] = torch.empty(2, 49)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _spread(build_sam(sizes, build_tiny_vit(like, sizes.prompt_dim, sizes.image_size)))
    classifier = {"image_encoder.norm_head.weight": torch.ones(16)}
    torch.save(in_the_authors_names(network.state_dict()) | classifier, path)
    return Path(path)


def save_random_mask_model(folder: str | Path, family: str, seed: int = 0) -> Path:
    """Write a tiny checkpoint of `AutoModelForMaskGeneration` of random weights with its image processor.

    Args:
        folder: made if need be
        family: `sam`, `sam_hq`, `sam2`, `sam3_tracker` or `edgetam`
        seed: of the weights

    Returns:
        the folder, as `save_pretrained` of transformers writes it

    Example:
        >>> import tempfile
        >>> (save_random_mask_model(tempfile.mkdtemp(), "sam2") / "config.json").is_file()
        True
    """
    transformers: Any = import_module("transformers")
    kind = {"sam": "Sam", "sam_hq": "SamHQ", "sam2": "Sam2", "sam3_tracker": "Sam3Tracker", "edgetam": "EdgeTam"}[
        family
    ]
    vit = {"vit_dim": 32} if family == "sam_hq" else {}
    config = getattr(transformers, f"{kind}Config")(
        vision_config=_vision_config(transformers, family),
        prompt_encoder_config=getattr(transformers, f"{kind}PromptEncoderConfig")(**_PROMPTS).to_dict(),
        mask_decoder_config=getattr(transformers, f"{kind}MaskDecoderConfig")(**_DECODER, **vit).to_dict(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _spread(getattr(transformers, f"{kind}Model")(config))
    network.save_pretrained(folder)
    _mask_processor(transformers, family).save_pretrained(folder)
    return Path(folder)


def _spread(network: Any) -> Any:
    """Give weights that are next to zero at first, which would hide a wrong position, values that can be seen."""
    for value in network.parameters():
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=max(0.1, value[0].numel() ** -0.5))
    return network


def _mask_processor(transformers: Any, family: str) -> Any:
    square = {"height": _SIDE, "width": _SIDE}
    if family in ("sam", "sam_hq"):
        images = transformers.SamImageProcessor(size={"longest_edge": _SIDE}, pad_size=square)
        return (transformers.SamProcessor if family == "sam" else transformers.SamHQProcessor)(images)
    if family == "sam3_tracker":
        return transformers.Sam3TrackerProcessor(transformers.Sam3ImageProcessor(size=square), target_size=_SIDE)
    return transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=square), target_size=_SIDE)


def _vision_config(transformers: Any, family: str) -> Any:
    grid = _SIDE // 16
    sizes = [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2]
    if family in ("sam", "sam_hq"):
        kind = transformers.SamVisionConfig if family == "sam" else transformers.SamHQVisionConfig
        return kind(
            hidden_size=32, output_channels=32, num_hidden_layers=2, num_attention_heads=2, image_size=_SIDE,
            window_size=4, global_attn_indexes=[1], mlp_dim=32, num_pos_feats=16,
        ).to_dict()  # fmt: skip
    if family == "sam2":
        backbone = transformers.Sam2HieraDetConfig(
            hidden_size=8, image_size=[_SIDE, _SIDE], embed_dim_per_stage=[8, 16, 32, 64],
            num_attention_heads_per_stage=[1, 1, 2, 2], blocks_per_stage=[1, 1, 2, 1], global_attention_blocks=[3],
            window_size_per_stage=[8, 4, 8, 4],
        )  # fmt: skip
        return transformers.Sam2VisionConfig(
            backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], backbone_feature_sizes=sizes,
            fpn_hidden_size=32,
        )  # fmt: skip
    if family == "sam3_tracker":
        return transformers.Sam3VisionConfig(backbone_config=_sam3_vit(transformers), fpn_hidden_size=32,
                                             backbone_feature_sizes=sizes)  # fmt: skip
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], "embed_dim": [8, 8, 16, 16],
                    "depth": [1, 1, 1, 1]},
    )  # fmt: skip
    return transformers.EdgeTamVisionConfig(
        backbone_config=backbone, backbone_channel_list=[16, 16, 8, 8], backbone_feature_sizes=sizes,
        fpn_hidden_size=32,
    )  # fmt: skip


def _sam3_vit(transformers: Any) -> Any:
    return transformers.Sam3ViTConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=_SIDE,
        patch_size=16, pretrain_image_size=64, window_size=4, global_attn_indexes=[1],
    )  # fmt: skip


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


def save_random_owl(folder: str | Path, words: Iterable[str], seed: int = 0) -> Path:
    """Write a tiny OWLv2 checkpoint of random weights with its processor; its boxes mean nothing.

    Args:
        folder: made if need be
        words: that the tokenizer knows as one token each
        seed: of the weights

    Returns:
        the folder, as `save_pretrained` of transformers writes it

    Example:
        >>> import tempfile
        >>> (save_random_owl(tempfile.mkdtemp(), ["cat"]) / "config.json").is_file()
        True
    """
    transformers: Any = import_module("transformers")
    tokenizer = _clip_tokenizer(transformers, ["a", "photo", "of", *words], 16)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Owlv2Config(
        text_config={**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**small, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _spread(transformers.Owlv2ForObjectDetection(config)).save_pretrained(folder)
    images = transformers.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    transformers.Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return Path(folder)


def save_random_sam3(folder: str | Path, words: Iterable[str], seed: int = 0) -> Path:
    """Write a tiny SAM 3 of random weights, its detector and its tracker in one checkpoint, as facebook/sam3 is.

    Args:
        folder: made if need be
        words: that the tokenizer knows as one token each
        seed: of the weights

    Returns:
        the folder, as `save_pretrained` of transformers writes it

    Example:
        >>> import tempfile
        >>> (save_random_sam3(tempfile.mkdtemp(), ["cat"]) / "config.json").is_file()
        True
    """
    transformers: Any = import_module("transformers")
    tokenizer = _clip_tokenizer(transformers, words, 32)
    small = {"hidden_size": 32, "intermediate_size": 16, "num_attention_heads": 2}
    layers = {"num_layers": 1}
    config = transformers.Sam3Config(
        vision_config=_vision_config(transformers, "sam3_tracker"),
        text_config=transformers.CLIPTextConfig(
            **small, num_hidden_layers=1, vocab_size=len(tokenizer), projection_dim=16, max_position_embeddings=32,
        ),
        geometry_encoder_config={**small, **layers},
        detr_encoder_config={**small, **layers},
        detr_decoder_config={**small, **layers, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )  # fmt: skip
    whole = transformers.Sam3VideoConfig(detector_config=config, tracker_config=_tracker_config(transformers))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _spread(transformers.Sam3VideoModel(whole)).save_pretrained(folder)
    images = transformers.Sam3ImageProcessor(size={"height": _SIDE, "width": _SIDE})
    transformers.Sam3Processor(images, tokenizer, target_size=_SIDE).save_pretrained(folder)
    return Path(folder)


def _tracker_config(transformers: Any) -> Any:
    small = {"memory_attention_hidden_size": 32, "memory_attention_num_layers": 1, "memory_encoder_hidden_size": 32,
             "memory_attention_feed_forward_hidden_size": 16, "memory_encoder_output_channels": 16,
             "mask_downsampler_embed_dim": 32, "memory_fuser_num_layers": 1, "memory_fuser_embed_dim": 32,
             "memory_fuser_intermediate_dim": 16}  # fmt: skip
    return transformers.Sam3TrackerVideoConfig(
        vision_config=_vision_config(transformers, "sam3_tracker"),
        prompt_encoder_config=_PROMPTS,
        mask_decoder_config=_DECODER,
        image_size=_SIDE,
        **small,
    )


def _clip_tokenizer(transformers: Any, words: Iterable[str], length: int) -> Any:
    """CLIP's tokenizer with a vocabulary of single letters and the given words, which its merges put together."""
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789-")
    pieces, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in dict.fromkeys(words):
        last = f"{word[-1]}</w>"
        steps = [*word[:-1], last]
        for end in range(1, len(steps)):
            pair = ("".join(steps[:end]), steps[end])
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
    tokens = ["!", *dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]  # the last one has the highest number
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length, pad_token="!")


def _bert_special_tokens() -> list[str]:
    """Special tokens at the numbers that GroundingDINO takes for granted: those of BERT's uncased vocabulary."""
    vocabulary = [f"[unused{number}]" for number in range(1030)]
    for number, token in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}.items():
        vocabulary[number] = token
    vocabulary[1012], vocabulary[1029] = ".", "?"
    return vocabulary
