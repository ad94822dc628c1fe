"""Every kind of model that can be loaded predicts what it predicts by itself; everything else is refused clearly."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models import ModelMismatchError, NetworkSegmenter, load_segmenter
from fiftyone_plugin.models.segmenters.network import IMAGENET_MEAN, IMAGENET_STD


def normalised(image, height=None, width=None):
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    stack = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]
    missing = ((height or image.shape[0]) - image.shape[0], (width or image.shape[1]) - image.shape[1])
    return nn.functional.pad(stack, (0, missing[1], 0, missing[0]), mode="replicate")


@torch.no_grad()
def close(segmenter, network, image, names=None):
    """The segmenter of a stride of 32 gives the softmax of the network on the padded image."""
    wanted = network.eval()(normalised(image, 64, 64))
    wanted = wanted["out"] if isinstance(wanted, dict) else wanted
    (found,) = segmenter.predict([image], names=names)
    torch.testing.assert_close(found, wanted.softmax(1)[0, :, :40, :60], atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def unet():
    import segmentation_models_pytorch as smp

    return smp.create_model("unet", "resnet18", encoder_weights=None, classes=5).eval()


@pytest.fixture
def quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, but its files are still about
        yield


class TestSegmentationModelsPytorch:
    @pytest.mark.parametrize("prefix", ["", "smp:"])
    def test_folder(self, unet, image, tmp_path, prefix, capsys):
        unet.save_pretrained(str(tmp_path / "model"))
        segmenter = load_segmenter(f"{prefix}{tmp_path / 'model'}", device="cpu")
        assert (segmenter.num_classes, segmenter.inputs.stride) == (5, 32)
        assert segmenter.description == f"smp:{tmp_path / 'model'}"
        close(segmenter, unet, image)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("nest", [lambda s: s, lambda s: {"state_dict": {f"module.{n}": v for n, v in s.items()}}])
    def test_architecture_and_state_dict(self, unet, image, tmp_path, nest):
        torch.save(nest(unet.state_dict()), tmp_path / "weights.pth")
        segmenter = load_segmenter("smp:unet/resnet18", state_dict=tmp_path / "weights.pth", device="cpu")
        assert segmenter.num_classes == 5
        close(segmenter, unet, image)

    def test_module(self, unet, image):
        close(load_segmenter(unet, device="cpu", num_classes=5), unet, image)

    def test_wrong_classes_are_known_before_the_first_image(self, unet):
        with pytest.raises(ModelMismatchError, match="has 5 channels and the labels have 4 classes"):
            load_segmenter(unet, num_classes=4)

    def test_map_of_channels(self, unet, image, tmp_path):
        torch.save(unet.state_dict(), tmp_path / "weights.pth")
        segmenter = load_segmenter(
            "smp:unet/resnet18", state_dict=tmp_path / "weights.pth", num_classes=2, channel_map={0: 0, 4: 1}
        )
        assert segmenter.predict([image])[0].shape == (2, 40, 60)

    @pytest.mark.parametrize(
        ("source", "options", "message"),
        [
            ("smp:unet/resnet18", {}, "'smp:unet/resnet18' and no state dict"),
            ("smp:nowhere", {}, "'smp:<folder of save_pretrained>'"),
            ("smp:unet/resnet34", {"state_dict": "{file}"}, "does not fit smp:unet/resnet34 with 5 classes"),
            ("smp:unet/resnet7", {"state_dict": "{file}"}, "Cannot build unet with encoder resnet7"),
            ("smp:unet/resnet18", {"state_dict": "none.pth"}, "none.pth is no file"),
        ],
    )
    def test_refusals(self, unet, tmp_path, source, options, message):
        torch.save(unet.state_dict(), tmp_path / "weights.pth")
        given = {name: value.format(file=tmp_path / "weights.pth") for name, value in options.items()}
        with pytest.raises(LabelQualityError, match=message):
            load_segmenter(source, **given)


class TestTorchvision:
    @pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
    def test_state_dict(self, image, name):
        from torchvision import models

        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
        segmenter = load_segmenter(f"torchvision:{name}", state_dict=network.state_dict(), device="cpu")
        assert segmenter.num_classes == 3
        with torch.no_grad():
            wanted = network(normalised(image))["out"].softmax(1)[0]
        torch.testing.assert_close(segmenter.predict([image])[0], wanted, atol=1e-5, rtol=1e-4)

    def test_unknown_name(self):
        with pytest.raises(LabelQualityError, match=r"one of torchvision's .*deeplabv3_resnet50.*, but got 'resnet50'"):
            load_segmenter("torchvision:resnet50")

    def test_weights_that_cannot_be_downloaded(self, monkeypatch):
        def fail(*arguments, **options):
            raise OSError("no route to host")

        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
        with pytest.raises(
            LabelQualityError, match=r"Cannot get the weights .*no route to host.* pass its path as `stat"
        ):
            load_segmenter("torchvision:lraspp_mobilenet_v3_large")


class Dense(nn.Module):
    """Torchvision's form of output."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        return {"out": self.layer(images)}


@pytest.mark.usefixtures("quietly")
class TestFiles:
    def test_torchscript(self, image, tmp_path):
        network = Dense().eval()
        torch.jit.save(torch.jit.trace(network, torch.rand(1, 3, 16, 16), strict=False), tmp_path / "net.pt")
        close(load_segmenter(str(tmp_path / "net.pt"), stride=32, device="cpu"), network, image)

    def test_export_with_free_shapes(self, image, tmp_path):
        network = Dense().eval()
        free = torch.export.Dim.DYNAMIC
        program = torch.export.export(
            network, (torch.rand(2, 3, 64, 96),), dynamic_shapes=({0: free, 2: free, 3: free},)
        )
        torch.export.save(program, tmp_path / "net.pt2")
        close(load_segmenter(tmp_path / "net.pt2", stride=32, device="cpu"), network, image)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_export_for_one_shape_is_kept_to(self, image, tmp_path, batch):
        network = Dense().eval()
        program = torch.export.export(network, (torch.rand(batch, 3, 32, 48),))
        torch.export.save(program, tmp_path / "net.pt2")
        segmenter = load_segmenter(tmp_path / "net.pt2", device="cpu")
        assert (segmenter.inputs.size, segmenter.outputs.batch) == ((32, 48), batch)
        found = segmenter.predict([image, image[:30], image[:, :32], image[::-1].copy()])
        wanted = load_segmenter(network, input_size=(32, 48), device="cpu").predict([image])
        torch.testing.assert_close(found[0], wanted[0])
        assert [tuple(p.shape) for p in found] == [(4, 40, 60), (4, 30, 60), (4, 40, 32), (4, 40, 60)]

    @pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pt2"])
    def test_a_state_dict_is_no_model(self, tmp_path, name):
        torch.save(Dense().state_dict(), tmp_path / name)
        with pytest.raises(
            LabelQualityError, match=r"Cannot load .*net.pt.* as|Expected an exported program of data alone"
        ):
            load_segmenter(tmp_path / name)


class TestTransformers:
    @pytest.fixture
    def folder(self, tmp_path):
        transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
        config = transformers.SegformerConfig(
            num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
            strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16,
            id2label={0: "road", 1: "car", 2: "sky"}, label2id={"road": 0, "car": 1, "sky": 2},
        )  # fmt: skip
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
        return tmp_path

    @pytest.mark.parametrize("prefix", ["", "transformers:"])
    def test_folder(self, folder, image, prefix):
        import transformers

        segmenter = load_segmenter(f"{prefix}{folder}", device="cpu")
        assert (segmenter.num_classes, segmenter.class_names) == (3, ["road", "car", "sky"])
        network = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
        with torch.no_grad():
            scores = network(pixel_values=normalised(image, 64, 64)).logits
        scores = nn.functional.interpolate(scores, (64, 64), mode="bilinear", align_corners=False)
        wanted = scores.softmax(1)[0, :, :40, :60]
        torch.testing.assert_close(segmenter.predict([image])[0], wanted, atol=1e-5, rtol=1e-4)

    def test_settings_of_the_image_processor(self, folder):
        import transformers

        transformers.SegformerImageProcessor(
            size={"height": 96, "width": 128}, image_mean=[0.5, 0.5, 0.5], image_std=[0.25, 0.25, 0.25]
        ).save_pretrained(folder)
        inputs = load_segmenter(folder, device="cpu").inputs
        assert (inputs.size, inputs.mean, inputs.std) == ((96, 128), (0.5,) * 3, (0.25,) * 3)
        assert inputs.value_range == pytest.approx(1.0)

    def test_mask_classifiers_become_semantic(self, tmp_path, image):
        transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
        backbone = transformers.SwinConfig(
            embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )  # fmt: skip
        decoder = transformers.DetrConfig(
            d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, num_queries=5
        )
        config = transformers.MaskFormerConfig(
            backbone_config=backbone, decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32,
            id2label={index: f"class {index}" for index in range(4)},
        )  # fmt: skip
        transformers.MaskFormerForInstanceSegmentation(config).save_pretrained(tmp_path)
        (found,) = load_segmenter(tmp_path, device="cpu").predict([image])
        assert found.shape == (4, 40, 60)
        torch.testing.assert_close(found.sum(0), torch.ones(40, 60))

    def test_missing_package_says_what_to_install(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(LabelQualityError, match=r'pip install "fiftyone-label-quality\[transformers\]"'):
            load_segmenter("transformers:nvidia/segformer-b0-finetuned-ade-512-512")

    def test_missing_model(self, tmp_path):
        pytest.importorskip("transformers", reason="the package transformers is not installed")
        with pytest.raises(LabelQualityError, match=r"Cannot load transformers:.*nowhere as a semantic segmenter"):
            load_segmenter(f"transformers:{tmp_path / 'nowhere'}")


class TestAnythingElse:
    def test_callable(self, pointwise, image):
        segmenter = load_segmenter(lambda images: pointwise(images), device="cpu")
        with torch.no_grad():
            wanted = pointwise(normalised(image)).softmax(1)[0]
        torch.testing.assert_close(segmenter.predict([image])[0], wanted)

    def test_module_with_a_state_dict(self, pointwise, image):
        fresh = nn.Conv2d(3, 4, 1)
        segmenter = load_segmenter(fresh, state_dict=pointwise.state_dict(), device="cpu")
        assert torch.equal(fresh.weight, pointwise.weight)
        assert segmenter.description == "Conv2d"

    def test_a_segmenter_is_itself(self, pointwise):
        segmenter = load_segmenter(pointwise, num_classes=4)
        assert load_segmenter(segmenter, num_classes=4) is segmenter
        with pytest.raises(LabelQualityError, match="Expected a segmenter of 5 classes, but it has 4"):
            load_segmenter(segmenter, num_classes=5)
        with pytest.raises(LabelQualityError, match=r"options \['flips'\] have no meaning for a segmenter"):
            load_segmenter(segmenter, flips=True)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("nowhere", "'nowhere': it does not exist. Expected a torch module"),
            ("zoo:deeplabv3-resnet50", "a model of FiftyOne's zoo; load it with FiftyOne"),
            (7, "Cannot load a int. Expected a torch module"),
        ],
    )
    def test_refusals(self, source, message):
        with pytest.raises(LabelQualityError, match=message):
            load_segmenter(source)

    def test_a_folder_without_a_model(self, tmp_path):
        with pytest.raises(LabelQualityError, match=r"it holds no model. Expected a torch module"):
            load_segmenter(tmp_path)

    def test_a_state_dict_for_a_function(self):
        with pytest.raises(LabelQualityError, match="a torch module to load `state_dict` into"):
            load_segmenter(lambda images: images, state_dict={"a": torch.zeros(1)})

    def test_pickled_models_are_not_executed(self, tmp_path):
        torch.save(nn.Conv2d(3, 4, 1), tmp_path / "model.pth")
        with pytest.raises(LabelQualityError, match=r"Cannot read .*model.pth as a state dict"):
            load_segmenter(nn.Conv2d(3, 4, 1), state_dict=tmp_path / "model.pth")


def test_strong_segmenter_on_real_images(shared_data):
    """The trained VOC segmenter that was converted from another framework keeps its accuracy behind our face."""
    import importlib.util

    from PIL import Image

    from fiftyone_plugin.models import ImageItem

    spec = importlib.util.spec_from_file_location("deeplab", shared_data / "weights" / "deeplabv3_mobilenet_v2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    segmenter = load_segmenter(
        module.DeepLabV3MNv2(),
        state_dict=shared_data / "weights" / "deeplabv3_mobilenet_v2_voc.pth",
        input_size=(513, 513),
        num_classes=21,
    )
    assert isinstance(segmenter, NetworkSegmenter)
    correct = labelled = 0
    paths = sorted((shared_data / "voc_grounded_sam" / "images").iterdir())[:6]
    for item, probabilities in segmenter.stream(ImageItem(path.stem, path=str(path)) for path in paths):
        mask = np.array(Image.open(shared_data / "voc_grounded_sam" / "masks" / f"{item.name}.png"))
        assert probabilities.shape == (21, *mask.shape)
        valid = mask < 21
        correct += int((probabilities.argmax(0).cpu().numpy() == mask)[valid].sum())
        labelled += int(valid.sum())
    assert correct / labelled > 0.85


def test_imagenet_encoder_in_torchvision_format(shared_data):
    from fiftyone_plugin.models.training.encoder_weights import new_model

    path = shared_data / "weights" / "mobilenet_v2_imagenet.pth"
    model, said = new_model("fpn", "mobilenet_v2", 11, path)
    assert said.startswith("encoder weights mobilenet_v2_imagenet.pth: loaded ")
    assert said.endswith("left out classifier.1.weight, classifier.1.bias")
    state = torch.load(path, weights_only=True)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.safetensors", 'without their architecture; name it: `model="smp:unet/resnet34", state_dict="'),
        ("net.pth", 'as TorchScript .*without their architecture; name it: `model="smp:unet/resnet34", state_dict="'),
        ("folder/model.safetensors", "the weights of a model alone; pass its folder: '.*folder'"),
        ("net.npy", "holds an array, no model; pass the folder of such files, .* as `probabilities='"),
        ("net.H5", "is a model of another library; export it as ONNX"),
        ("net.onnx", "Cannot load .*net.onnx as an ONNX model .*; write it with `torch.onnx.export`"),
    ],
)
def test_files_that_are_no_model_name_the_next_step(tmp_path, name, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "folder" / "config.json").write_text('{"model_type": "segformer"}')
    with pytest.raises(LabelQualityError, match=words):
        load_segmenter(str(path))


def test_a_class_is_no_model():
    with pytest.raises(LabelQualityError, match=r"got the class Conv2d, .* and pass that: `Conv2d\(...\)`"):
        load_segmenter(nn.Conv2d)
