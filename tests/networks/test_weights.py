"""Initialisations come back bit for bit, and load completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sg_bench.errors import DataError, MethodError
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.resnet import Encoder2D, UNet2D, YNet2D
from sg_bench.networks.unet import Encoder3D, UNet3D, YNet3D
from sg_bench.networks.weights import StateDict, load_initialisation, load_into, save_initialisation, split_state

Parts = tuple[StateDict, StateDict]


def network(seed: int = 0, out_channels: int = 1) -> UNet3D:
    return glorot_(UNet3D(2, out_channels=out_channels), torch.Generator().manual_seed(seed))


@pytest.fixture
def parts() -> Parts:
    return split_state(network(1))


def same(a: StateDict, b: StateDict) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def test_the_state_splits_into_encoder_and_decoder_without_the_pattern_head() -> None:
    encoder, decoder = split_state(YNet3D(2, 3))
    assert (len(encoder), len(decoder)) == (56, 50)
    assert encoder.keys() == Encoder3D(2).state_dict().keys()


def test_a_backbone_whose_tensors_all_belong_to_a_decoder_is_refused() -> None:
    class Misnamed(UNet3D):
        DECODER = ("down_tr", "up_tr", "out_tr")

    with pytest.raises(MethodError, match="none of the 106 tensors of Misnamed belongs to its encoder"):
        split_state(Misnamed(1))


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path, parts: Parts) -> None:
    digest = save_initialisation(tmp_path, *parts)
    encoder, decoder = load_initialisation(tmp_path)
    assert same(encoder, parts[0])
    assert same(decoder, parts[1])
    assert len(digest) == 64
    assert digest == save_initialisation(tmp_path / "again", encoder, decoder)


def test_unchanged_files_are_read_once_and_changed_ones_again(
    tmp_path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_initialisation(tmp_path, *parts)
    once = load_initialisation(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path.name} was read again"))
        assert all(same(*both) for both in zip(load_initialisation(tmp_path), once, strict=True))
    other = {name: tensor + 1 for name, tensor in parts[0].items()}
    save_initialisation(tmp_path, other, parts[1])
    assert same(load_initialisation(tmp_path)[0], other)


def test_the_digest_changes_with_either_file(tmp_path: Path, parts: Parts) -> None:
    encoder, decoder = parts
    digests = {save_initialisation(tmp_path, encoder, decoder), save_initialisation(tmp_path, encoder, {})}
    digests.add(save_initialisation(tmp_path, encoder, {**decoder, "out_tr.final_conv.bias": torch.ones(1)}))
    assert len(digests) == 3


def test_an_empty_decoder_leaves_no_file_of_an_earlier_one(tmp_path: Path, parts: Parts) -> None:
    save_initialisation(tmp_path, *parts)
    save_initialisation(tmp_path, parts[0], {})
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.safetensors"]
    assert load_initialisation(tmp_path)[1] == {}


def test_other_precisions_and_layouts_are_stored_as_plain_float32(tmp_path: Path) -> None:
    half = torch.arange(6.0).reshape(2, 3).to(torch.bfloat16).t()
    save_initialisation(tmp_path, {"w": half, "n": torch.tensor(3, dtype=torch.int32)}, {})
    encoder, _ = load_initialisation(tmp_path)
    assert torch.equal(encoder["w"], half.float())
    assert (encoder["w"].dtype, encoder["n"].dtype) == (torch.float32, torch.int64)


def test_diverged_or_absent_weights_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"w\.x contains NaN"):
        save_initialisation(tmp_path, {"w.x": torch.tensor([1.0, float("nan")])}, {})
    with pytest.raises(MethodError, match="no encoder"):
        save_initialisation(tmp_path, {}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_truncated_file_is_a_data_error_that_names_it(tmp_path: Path, parts: Parts, name: str, keep: int) -> None:
    save_initialisation(tmp_path, *parts)
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"{name}.safetensors are damaged"):
        load_initialisation(tmp_path)


def test_a_missing_encoder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no weights at .*encoder\.safetensors"):
        load_initialisation(tmp_path)


def test_encoder_and_decoder_load_into_a_network_of_the_same_shape(parts: Parts) -> None:
    target = network()
    report = load_into(target, *parts, need_decoder=True)
    assert same(target.state_dict(), network(1).state_dict())
    assert (len(report.matched), report.missing, report.unused, report.reinitialised) == (106, (), (), ())
    assert report.decoder == "loaded"
    assert str(report) == "106 tensors loaded, 0 missing, 0 unused; decoder: loaded"


def test_a_decoder_that_is_not_needed_stays_unused(parts: Parts) -> None:
    target = Encoder3D(2)
    report = load_into(target, *parts, need_decoder=False)
    assert same(target.state_dict(), parts[0])
    assert (len(report.matched), len(report.unused), report.decoder) == (56, 50, "not needed")
    before = network()
    load_into(target := network(), *parts, need_decoder=False)
    assert torch.equal(target.up_tr64.up_conv.weight, before.up_tr64.up_conv.weight)
    assert same(split_state(target)[0], parts[0])


def test_a_method_without_a_decoder_leaves_it_random_and_the_report_says_so(parts: Parts) -> None:
    target = network()
    report = load_into(target, parts[0], {}, need_decoder=True)
    assert torch.equal(target.up_tr64.up_conv.weight, network().up_tr64.up_conv.weight)
    assert (len(report.matched), len(report.missing), report.decoder) == (56, 50, "random")
    assert str(report).endswith("decoder: random")


def test_the_output_layer_stays_random_when_the_task_has_other_channels(parts: Parts) -> None:
    target = network(out_channels=3)
    report = load_into(target, *parts, need_decoder=True)
    assert report.reinitialised == ("out_tr.final_conv.bias", "out_tr.final_conv.weight")
    assert (len(report.matched), report.unused) == (104, ())
    assert torch.equal(target.out_tr.final_conv.weight, network(out_channels=3).out_tr.final_conv.weight)


def test_counters_may_be_missing(parts: Parts) -> None:
    encoder, decoder = ({k: v for k, v in part.items() if not k.endswith("num_batches_tracked")} for part in parts)
    report = load_into(network(), encoder, decoder, need_decoder=True)
    assert (len(report.matched), len(report.missing)) == (92, 14)
    assert all(name.endswith("num_batches_tracked") for name in report.missing)


def test_a_missing_encoder_tensor_is_an_error_that_names_it_and_the_coverage(parts: Parts) -> None:
    del parts[0]["down_tr512.ops.1.conv1.weight"]
    target, before = network(), network()
    with pytest.raises(MethodError, match=r"105 of the network's 106 .*99%.*1 missing \(down_tr512.ops.1.conv1.weight"):
        load_into(target, *parts, need_decoder=True)
    assert same(target.state_dict(), before.state_dict())


def test_a_missing_decoder_tensor_is_an_error_only_where_the_decoder_is_needed(parts: Parts) -> None:
    del parts[1]["up_tr64.up_conv.bias"]
    with pytest.raises(MethodError, match=r"up_tr64\.up_conv\.bias"):
        load_into(network(), *parts, need_decoder=True)
    load_into(network(), *parts, need_decoder=False)


def test_weights_of_another_width_are_refused_with_both_shapes(parts: Parts) -> None:
    with pytest.raises(MethodError, match=r"conv1.weight is \(2, 1, 3, 3, 3\) where the network has \(4, 1, 3, 3, 3\)"):
        load_into(UNet3D(4), *parts, need_decoder=True)


def test_an_output_layer_of_another_width_is_not_excused(parts: Parts) -> None:
    parts[1]["out_tr.final_conv.weight"] = torch.zeros(3, 7, 1, 1, 1)
    with pytest.raises(MethodError, match="out_tr"):
        load_into(network(), *parts, need_decoder=True)


def test_tensors_that_the_network_lacks_are_reported_and_its_pattern_head_is_left_alone(parts: Parts) -> None:
    parts[0]["down_tr1024.weight"] = torch.zeros(1)
    report = load_into(YNet3D(2, 3), *parts, need_decoder=True)
    assert (report.unused, report.missing) == (("down_tr1024.weight",), ())


class TestTwoDimensions:
    @pytest.fixture
    def flat(self) -> Parts:
        return split_state(UNet2D(1))

    def test_the_state_splits_into_encoder_and_decoder_without_the_pattern_head(self) -> None:
        encoder, decoder = split_state(YNet2D(1, 3))
        assert encoder.keys() == Encoder2D(1).state_dict().keys()
        assert {*encoder, *decoder} == UNet2D(1).state_dict().keys()

    def test_encoder_and_decoder_load_completely(self, flat: Parts) -> None:
        target = UNet2D(1)
        report = load_into(target, *flat, need_decoder=True)
        assert same(target.state_dict(), {**flat[0], **flat[1]})
        assert (len(report.matched), report.missing, report.unused, report.decoder) == (182, (), (), "loaded")

    def test_what_is_saved_comes_back_bit_for_bit(self, tmp_path: Path, flat: Parts) -> None:
        save_initialisation(tmp_path, *flat)
        encoder, decoder = load_initialisation(tmp_path)
        assert same(encoder, flat[0])
        assert same(decoder, flat[1])

    def test_the_output_layer_stays_random_when_the_task_has_other_channels(self, flat: Parts) -> None:
        report = load_into(UNet2D(1, 3), *flat, need_decoder=True)
        assert report.reinitialised == ("segmentation_head.0.bias", "segmentation_head.0.weight")
        assert (len(report.matched), report.unused) == (180, ())

    @pytest.mark.parametrize("name", ["encoder.layer4.0.downsample.0.weight", "encoder.bn1.running_var"])
    def test_a_missing_encoder_tensor_is_an_error_that_names_it(self, flat: Parts, name: str) -> None:
        del flat[0][name]
        with pytest.raises(MethodError, match=f"119 of the network's 120 .*1 missing .{name}"):
            load_into(Encoder2D(1), *flat, need_decoder=False)

    def test_weights_of_the_other_dimension_are_refused(self, flat: Parts, parts: Parts) -> None:
        with pytest.raises(MethodError, match="covers 8 of the network's 56 tensors"):
            load_into(Encoder3D(2), *flat, need_decoder=False)
        with pytest.raises(MethodError, match="covers 20 of the network's 120 tensors"):
            load_into(Encoder2D(1), *parts, need_decoder=False)


class TestOtherInputChannels:
    """An input layer is summed over its channels, repeated and divided by their number."""

    @pytest.mark.parametrize("channels", [2, 4])
    def test_equal_channels_give_what_one_channel_gave(self, channels: int) -> None:
        one, several = Encoder3D(2), Encoder3D(2, channels)
        report = load_into(several, glorot_(one, torch.Generator().manual_seed(3)).state_dict(), {}, need_decoder=False)
        image = torch.rand(1, 1, 16, 16, 8)
        with torch.no_grad():
            found = several.eval().features(image.expand(-1, channels, -1, -1, -1))[-1]
            assert torch.allclose(found, one.eval().features(image)[-1], atol=1e-5)
        assert len(report.adapted) == 1
        assert f"repeated for and divided by {channels} input channels" in str(report)

    def test_of_several_channels_one_has_their_sum(self) -> None:
        given = glorot_(Encoder3D(2, 4), torch.Generator().manual_seed(3))
        one = Encoder3D(2)
        (name,) = load_into(one, given.state_dict(), {}, need_decoder=False).adapted
        assert torch.allclose(one.state_dict()[name], given.state_dict()[name].sum(dim=1, keepdim=True))

    def test_a_network_for_photographs_takes_any_number(self) -> None:
        one, several = Encoder2D(4), Encoder2D(4, 2)
        (name,) = load_into(several, one.state_dict(), {}, need_decoder=False).adapted
        assert torch.allclose(several.state_dict()[name].sum(dim=1), one.state_dict()[name].sum(dim=1), atol=1e-6)
        load_into(Encoder2D(4), several.state_dict(), {}, need_decoder=False)

    def test_untrained_input_layers_stay_as_they_were_drawn(self) -> None:
        several = Encoder3D(2, 3)
        before = {name: tensor.clone() for name, tensor in several.state_dict().items()}
        report = load_into(several, Encoder3D(2).state_dict(), {}, need_decoder=False, adapt=False)
        assert not report.adapted
        (name,) = report.reinitialised
        assert torch.equal(several.state_dict()[name], before[name])

    def test_the_report_of_equal_channels_is_as_before(self, parts: Parts) -> None:
        assert "channels" not in str(load_into(network(), *parts, need_decoder=True))
