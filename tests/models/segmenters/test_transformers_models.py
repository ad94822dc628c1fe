"""Segmenters of transformers, tiny and of random weights, give the probabilities that their outputs mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import load_segmenter

transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
SIDE = 64
NAMES = ("road", "car", "tree")


def swin():
    return transformers.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def queries(**sizes):
    small = {"encoder_feedforward_dim": 16, "encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2}
    return {"backbone_config": swin(), "hidden_dim": 32, "dim_feedforward": 16, "num_queries": 6, **small, **sizes}


def vit(**sizes):
    return {
        "image_size": SIDE, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_blocks": 1, "num_queries": 6, "num_register_tokens": 1, "num_upscale_blocks": 1, **sizes,
    }  # fmt: skip


def resnet():
    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def eomt_processor():
    return transformers.EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": SIDE}, do_split_image=True)


def square(kind):
    return getattr(transformers, kind)(size={"height": SIDE, "width": SIDE})


MODELS = {
    "segformer": lambda: (
        transformers.SegformerForSemanticSegmentation(
            transformers.SegformerConfig(
                hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8,
                num_labels=3,
            )
        ),
        square("SegformerImageProcessor"),
    ),
    "mask2former": lambda: (
        transformers.Mask2FormerForUniversalSegmentation(
            transformers.Mask2FormerConfig(**queries(feature_size=32, mask_feature_size=32, num_labels=3))
        ),
        square("Mask2FormerImageProcessor"),
    ),
    "eomt": lambda: (
        transformers.EomtForUniversalSegmentation(transformers.EomtConfig(**vit(num_labels=3))),
        eomt_processor(),
    ),
    "eomt_dinov3": lambda: (
        transformers.EomtDinov3ForUniversalSegmentation(
            transformers.EomtDinov3Config(**vit(num_labels=3, intermediate_size=32))
        ),
        eomt_processor(),
    ),
    "upernet": lambda: (
        transformers.UperNetForSemanticSegmentation(
            transformers.UperNetConfig(backbone_config=swin(), hidden_size=16, pool_scales=[1, 2], num_labels=3)
        ),
        square("SegformerImageProcessor"),
    ),
    "beit": lambda: (
        transformers.BeitForSemanticSegmentation(
            transformers.BeitConfig(
                image_size=SIDE, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
                out_indices=[1, 2, 3, 4], pool_scales=[1, 2], num_labels=3,
            )
        ),
        square("BeitImageProcessor"),
    ),
    "dpt": lambda: (
        transformers.DPTForSemanticSegmentation(
            transformers.DPTConfig(
                image_size=SIDE, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
                backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=16,
                num_labels=3,
            )
        ),
        square("DPTImageProcessor"),
    ),
    "mobilevit": lambda: (
        transformers.MobileViTForSemanticSegmentation(
            transformers.MobileViTConfig(
                image_size=SIDE, hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 16],
                num_attention_heads=2, aspp_out_channels=16, num_labels=3,
            )
        ),
        transformers.MobileViTImageProcessor(size={"shortest_edge": SIDE}, do_center_crop=False),
    ),
    "detr": lambda: (
        transformers.DetrForSegmentation(
            transformers.DetrConfig(
                use_timm_backbone=False, backbone=None, use_pretrained_backbone=False, backbone_config=resnet(),
                d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=8, decoder_attention_heads=8,
                encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=6, num_labels=3,
            )
        ),
        square("DetrImageProcessor"),
    ),
}  # fmt: skip


def named(network):
    network.config.id2label = dict(enumerate(NAMES))
    return network.eval()


def random_image(height=SIDE, width=SIDE):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@torch.no_grad()
def composed(network, image, processor, **arguments):
    """What the network says of one image of its own size, by the formula of its paper."""
    task = {"task_inputs": ["semantic"]} if arguments else {}
    values = processor(images=[image], return_tensors="pt", **task)["pixel_values"]
    output = network(pixel_values=values, **arguments)
    classes, masks = (output.get(f"{name}_queries_logits") for name in ("class", "masks"))
    if "pred_masks" in output:  # DETR
        classes, masks = output.logits, output.pred_masks
    if classes is not None:
        scores = torch.einsum("nqc,nqhw->nchw", classes.softmax(-1)[..., :-1], masks.sigmoid())
        return functional.interpolate(scores / scores.sum(1, keepdim=True), (SIDE, SIDE), mode="bilinear")[0]
    return functional.interpolate(output.logits, (SIDE, SIDE), mode="bilinear")[0].softmax(0)


@pytest.mark.parametrize("name", MODELS)
def test_folder_and_module_give_what_the_output_means(name, tmp_path):
    torch.manual_seed(0)
    network, processor = MODELS[name]()
    named(network).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    segmenter, image = load_segmenter(f"transformers:{tmp_path}", device="cpu"), random_image()
    expected = composed(network, image, processor)
    torch.testing.assert_close(segmenter.predict([image])[0], expected, atol=1e-5, rtol=1e-4)
    assert segmenter.class_names == list(NAMES)
    again = type(network).from_pretrained(tmp_path)
    # a module knows where it came from; one that was built has ImageNet's settings, and no order of channels
    for given in (again,) if name == "mobilevit" else (again, network):
        (found,) = load_segmenter(given, device="cpu", **({} if given is again else settings(processor))).predict(
            [image]
        )
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def settings(processor):
    return {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}


def test_square_windows_along_the_longer_side(tmp_path):
    """EoMT looks at squares as high as the image, each resized to its one size."""
    network, processor = MODELS["eomt"]()
    named(network).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    segmenter, image = load_segmenter(f"transformers:{tmp_path}", device="cpu"), random_image(SIDE, 2 * SIDE)
    (found,) = segmenter.predict([image])
    left, right = segmenter.predict([image[:, :SIDE], image[:, SIDE:]])
    torch.testing.assert_close(found, torch.cat([left, right], 2))
    assert segmenter.predict([random_image(100, 130)])[0].shape == (3, 100, 130)


@pytest.fixture
def oneformer(tmp_path):
    torch.manual_seed(0)
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{word}</w>" for word in ("the", "task", "is", "semantic"))]
    letters = sorted({letter for word in words[2:] for letter in word[:-4]})
    vocabulary = {word: number for number, word in enumerate([*words, *letters, *(f"{one}</w>" for one in letters)])}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
    config = transformers.OneFormerConfig(
        **queries(conv_dim=32, mask_dim=32, num_labels=3, text_encoder_width=32, text_encoder_num_layers=1),
        is_training=False,
    )
    network = named(transformers.OneFormerForUniversalSegmentation(config))
    images = transformers.OneFormerImageProcessor(
        size={"height": SIDE, "width": SIDE}, repo_path=None, class_info_file=None, num_text=4
    )
    processor = transformers.OneFormerProcessor(images, tokenizer, max_seq_length=77, task_seq_length=77)
    network.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path, network, processor


def test_oneformer_is_told_its_task(oneformer):
    folder, network, processor = oneformer
    image = random_image()
    tokens = processor(images=[image], task_inputs=["semantic"], return_tensors="pt")["task_inputs"]
    (found,) = load_segmenter(f"transformers:{folder}", device="cpu").predict([image])
    expected = composed(network, image, processor, task_inputs=tokens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(LabelQualityError, match=r"told its task in words.*transformers:<folder>"):
        load_segmenter(network, device="cpu")


def test_sizes_in_proportion_and_order_of_channels(tmp_path):
    network, _ = MODELS["segformer"]()
    network.save_pretrained(tmp_path)
    transformers.MobileViTImageProcessor(size={"shortest_edge": 96}, do_center_crop=False).save_pretrained(tmp_path)
    segmenter = load_segmenter(f"transformers:{tmp_path}", device="cpu")
    assert (segmenter.inputs.shortest, segmenter.inputs.bgr, segmenter.inputs.mean) == (96, True, (0.0, 0.0, 0.0))
    assert segmenter._frame(type("Item", (), {"image": random_image(30, 60)})) == (96, 192)
    assert segmenter.class_names is None, "LABEL_0 and so on are no names"


def test_models_inside_other_objects(tmp_path):
    network, processor = MODELS["segformer"]()
    named(network).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    image = random_image()
    expected = composed(network, image, processor)
    import fiftyone.utils.transformers as fout

    pipeline = transformers.pipeline("image-segmentation", model=str(tmp_path))
    for wrapped in (pipeline, fout.convert_transformers_model(type(network).from_pretrained(tmp_path))):
        (found,) = load_segmenter(wrapped, device="cpu").predict([image])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
