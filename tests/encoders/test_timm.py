"""Networks of timm, against timm called by hand."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from mlabench.encoders.from_timm import TimmEncoder
from mlabench.errors import UserError
from mlabench.media.preprocessing.pictures import Frames, Picture
from mlabench.media.preprocessing.sound import Fbank, LogMel, Spectrogram

MODEL = "test_resnet"
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def config(**options):
    return TimmEncoder.Config(**{"model": MODEL, "pretrained": False, "size": 48, **options})


def encoder(shape, **options):
    torch.manual_seed(0)
    return TimmEncoder(shape, config(**options)).eval()


def pictures(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def settled(network):
    """Running statistics other than the initial ones."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def test_preprocessing_by_medium():
    wanted = {
        "image": (config(fit="cover"), Picture(size=48, fit="cover")),
        "video": (config(frames=2), Frames(count=2, size=48)),
        "audio": (config(), Fbank(frames=1024, mels=128)),
    }
    for medium, (options, expected) in wanted.items():
        assert TimmEncoder.preprocessing(options, medium) == expected
    assert TimmEncoder.preprocessing(config(seconds=2.5), "audio") == Fbank(frames=250)
    assert TimmEncoder.preprocessing(config(front_end="spectrogram"), "audio") == Spectrogram()
    assert TimmEncoder.preprocessing(config(front_end="log_mel", seconds=2), "audio") == LogMel(seconds=2)


def test_pictures_are_normalised_as_on_imagenet():
    ours = encoder((3, 48, 48), model="resnet18")
    settled(ours.backbone)
    batch = pictures(2, 3, 48, 48)
    mean, std = (numbers.reshape(3, 1, 1) for numbers in IMAGENET)
    values = torch.from_numpy((batch.numpy() / 255 - mean) / std).float()
    reference = timm.create_model("resnet18", num_classes=0).eval()
    reference.load_state_dict(ours.backbone.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(ours(batch), reference(values))
        last = reference.forward_features(values)
        torch.testing.assert_close(ours(batch), last.mean(dim=(2, 3)))
    assert ours.width == last.shape[1]


def test_networks_with_their_own_normalisation():
    network = TimmEncoder((3, 160, 160), config(model="test_vit"))
    assert network.picture.mean.flatten().tolist() == [0.5] * 3, "test_vit was trained on other statistics"


def test_video_is_the_mean_of_its_frames():
    video = encoder((4, 3, 48, 48))
    settled(video.backbone)
    image = encoder((3, 48, 48))
    image.load_state_dict(video.state_dict())
    batch = pictures(2, 4, 3, 48, 48)
    with torch.inference_mode():
        frames = torch.stack([image(batch[:, frame]) for frame in range(4)])
        torch.testing.assert_close(video(batch), frames.mean(dim=0))


def test_video_is_the_mean_over_time_and_space():
    """As the paper pools: the last feature maps of all frames, at once."""
    video = encoder((2, 3, 48, 48))
    batch = pictures(3, 2, 3, 48, 48)
    with torch.inference_mode():
        maps = video.backbone.forward_features(video.picture(batch).flatten(0, 1))
        volume = maps.unflatten(0, (3, 2)).transpose(1, 2)  # [n, d, time, height, width]
        pooled = torch.nn.functional.adaptive_avg_pool3d(volume, 1).flatten(1)
        torch.testing.assert_close(video(batch), pooled)


def test_sound_is_a_picture_with_one_channel():
    sound = torch.randn(2, 60, 32).half()
    plain, scaled = encoder((60, 32)), encoder((60, 32), audio_mean=-4.503877, audio_std=5.141276)
    with torch.inference_mode():
        torch.testing.assert_close(plain(sound), plain.backbone(sound.float()[:, None]))
        by_hand = torch.from_numpy((sound.numpy().astype(np.float64) + 4.503877) / (2 * 5.141276)).float()
        torch.testing.assert_close(scaled(sound), scaled.backbone(by_hand[:, None]))
    assert next(plain.backbone.parameters()).shape[1] == 1


def test_only_pictures_are_augmented_and_only_while_training():
    image, sound = encoder((3, 48, 48)), encoder((60, 32))
    seen = []
    for network, batch in ((image, pictures(2, 3, 48, 48)), (sound, torch.randn(2, 60, 32))):
        network.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for training in (True, True, False, False):
            network.train(training)(batch)
    different = [not torch.equal(one, other) for one, other in zip(seen[::2], seen[1::2], strict=True)]
    assert different == [True, False, False, False]
    assert not encoder((3, 48, 48), augment=False).picture.augment


def test_initialisation_of_the_paper():
    """Kaiming-normal by the fan out, so a standard deviation of sqrt(2 / (channels out * positions))."""
    ours = TimmEncoder((3, 48, 48), config(model="resnet18"))
    for module in ours.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            weight = module.weight.detach().numpy()
            expected = np.sqrt(2 / (weight.shape[0] * weight.shape[2] * weight.shape[3]))
            assert weight.std() == pytest.approx(expected, rel=0.05)
            assert abs(weight.mean()) < 0.05 * expected
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
    theirs = TimmEncoder((3, 48, 48), config(model="resnet18", initialisation="timm"))
    assert not theirs.backbone.layer1[0].bn2.weight.any(), "timm starts residual branches at 0"


def test_linear_layers_of_the_paper():
    network = TimmEncoder((3, 160, 160), config(model="test_vit"))
    linear = network.backbone.blocks[0].mlp.fc1
    assert linear.weight.std().item() == pytest.approx(np.sqrt(2 / sum(linear.weight.shape)), rel=0.05)
    assert not linear.bias.any()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_width_is_what_the_network_gives(name):
    size = 160 if name == "test_vit" else 48
    network = encoder((3, size, size), model=name, size=size)
    assert network(pictures(2, 3, size, size)).shape == (2, network.width)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((3, 100, 100), r"cannot read 100 x 100.*patch size \(16\).*\(size\)"), ((250, 128), "250 x 128")],
)
def test_sizes_that_patches_do_not_fill(shape, reason):
    with pytest.raises(UserError, match=reason):
        encoder(shape, model="test_vit")


# -- weights --------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path):
    """A file as on the hub: three colours, and a classifier."""
    torch.manual_seed(7)
    network = timm.create_model(MODEL)
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    return network, path


def test_weights_of_a_file(published):
    network, path = published
    ours = encoder((3, 48, 48), pretrained=path)
    batch = pictures(2, 3, 48, 48)
    network.eval().reset_classifier(0)
    with torch.inference_mode():
        torch.testing.assert_close(ours(batch), network(ours.picture(batch)))


def test_first_layer_for_sound_sums_over_the_colours(published):
    network, path = published
    ours = encoder((60, 32), pretrained=path)
    sound = torch.randn(2, 60, 32)
    network.eval().reset_classifier(0)
    with torch.inference_mode():
        torch.testing.assert_close(ours(sound), network(sound[:, None].expand(-1, 3, -1, -1)))


def test_weights_of_another_network(tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt: does not fit the network \(missing: .*not in the network: "):
        encoder((3, 48, 48), pretrained=tmp_path / "a.pt")


def test_weights_from_the_local_cache_of_the_hub(published, tmp_path, monkeypatch):
    """Laid out as the hub's client lays out its cache; nothing is asked over the network."""
    network, path = published
    repository = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123456789abcdef")
    path.rename(snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    network.eval().reset_classifier(0)
    batch = pictures(2, 3, 48, 48)
    with torch.inference_mode():
        ours = encoder((3, 48, 48), pretrained=True)
        torch.testing.assert_close(ours(batch), network(ours.picture(batch)))
        sound, grey = encoder((60, 32), pretrained=True), torch.randn(2, 60, 32)
        torch.testing.assert_close(sound(grey), network(grey[:, None].expand(-1, 3, -1, -1)))


def refuse(*arguments, **options):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize("offline", ["", "1"])
def test_hub_out_of_reach(tmp_path, monkeypatch, capfd, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(UserError, match=r"test_resnet.*pretrained: PATH.*pretrained: false"):
        encoder((3, 48, 48), pretrained=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("resnet81", "Did you mean 'resnet"), ("resnet18.nowhere", "Known: .*a1_in1k"), ("qqqqqqqq", "list_models")],
)
def test_unknown_names(name, remedy):
    for act in (TimmEncoder.preprocessing, lambda options, _: TimmEncoder((3, 48, 48), options)):
        with pytest.raises(UserError, match=remedy):
            act(config(model=name), "image")
