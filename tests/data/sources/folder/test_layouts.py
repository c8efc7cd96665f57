"""Every layout that a laboratory's folder may have is recognised, and read as its settings say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydantic import ValidationError

from sg_bench.data.sources.folder import FolderConfig, FolderSource, recognise
from sg_bench.errors import DataError
from tests import fixtures
from tests.fixtures import one_line

RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
MASK = (RAMP % 3).astype(np.uint8)


def write(path: Path, array: np.ndarray = RAMP, affine: np.ndarray | None = None) -> Path:
    return fixtures.write_nifti(path, array, np.eye(4) if affine is None else affine)


def source(root: Path, **config: object) -> FolderSource:
    return FolderSource(FolderConfig.model_validate(config), root)


def recognised(root: Path) -> FolderSource:
    config = recognise(root)
    assert config is not None
    return FolderSource(config, root)


def reasons(folder: FolderSource) -> list[str]:
    return [str(problem) for problem in folder.problems()]


class TestPattern:
    def test_patient_session_and_channel_come_from_the_path(self, tmp_path: Path) -> None:
        for patient in ("p1", "p2"):
            for session in ("a", "b"):
                for index, channel in enumerate(("t1", "t1ce")):
                    write(tmp_path / f"{patient}/{session}_{channel}.nii.gz", RAMP + index)
                write(tmp_path / f"{patient}/{session}_seg.nii.gz", MASK)
        folder = source(
            tmp_path,
            images="{patient}/{session}_{channel}.nii.gz",
            labels="{patient}/{session}_seg.nii.gz",
            channels=["t1ce", "t1"],
        )
        cases = folder.scan()
        assert [(case.id, case.patient) for case in cases] == [
            ("p1_a", "p1"),
            ("p1_b", "p1"),
            ("p2_a", "p2"),
            ("p2_b", "p2"),
        ]
        assert folder.channels == 2
        study = folder.load(cases[0])
        np.testing.assert_array_equal(study.image, np.stack([RAMP + 1, RAMP]))
        np.testing.assert_array_equal(study.label, MASK)
        assert folder.problems() == []

    def test_a_part_used_twice_is_the_same_text_and_is_in_the_id_once(self, tmp_path: Path) -> None:
        for name in ("s1/s1_x.nii", "s2/s2_x.nii", "s2/s3_x.nii"):
            write(tmp_path / name)
        assert [case.id for case in source(tmp_path, images="{patient}/{patient}_x.nii").scan()] == ["s1", "s2"]
        assert [case.id for case in source(tmp_path, images="{patient}/{id}_x.nii").scan()] == ["s1", "s2", "s2_s3"]

    def test_one_file_with_all_channels_is_read_channel_first(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii.gz", np.stack([RAMP, RAMP * 2, RAMP * 3], axis=3))
        several = source(tmp_path, channels=["x", "y", "z"])
        assert several.load(several.scan()[0]).image.shape == (3, 3, 4, 5)
        unnamed = source(tmp_path)
        assert unnamed.load(unnamed.scan()[0]).image.shape == (3, 3, 4, 5)
        folder = source(tmp_path, channels=["x", "y"])
        with pytest.raises(DataError) as error:
            folder.load(folder.scan()[0])
        one_line(error, "a.nii.gz", "it has 3 channels", "Name 3 channels in `channels`")

    def test_a_long_series_of_volumes_is_not_taken_for_channels(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii.gz", np.stack([RAMP] * 9, axis=3))
        folder = source(tmp_path)
        with pytest.raises(DataError) as error:
            folder.load(folder.scan()[0])
        one_line(error, "a.nii.gz", "it has 9 channels", "Name 9 channels in `channels`")

    @pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha"])
    def test_formats_of_itk_are_read(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / "images").mkdir()
        image = sitk.GetImageFromArray(RAMP.T)
        image.SetSpacing((0.5, 1.0, 2.0))
        sitk.WriteImage(image, tmp_path / f"images/a{ending}", useCompression=True)
        folder = source(tmp_path)
        study = folder.load(folder.scan()[0])
        np.testing.assert_array_equal(study.image, RAMP)
        np.testing.assert_allclose(np.abs(np.diag(study.affine)), [0.5, 1, 2, 1])

    @pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
    def test_films_of_8_and_16_bit_keep_their_values(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / "images").mkdir()
        grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
        pixels = grey if ending == "jpg" else grey.astype(np.uint16) * 257
        Image.fromarray(pixels).save(tmp_path / f"images/a.{ending}")
        folder = source(tmp_path)
        image = folder.load(folder.scan()[0]).image
        assert image.shape == (8, 8, 1)
        np.testing.assert_allclose(image[..., 0].T, pixels, atol=6 if ending == "jpg" else 0)

    def test_the_indices_of_a_palette_are_class_numbers_and_colours_are_refused(self, tmp_path: Path) -> None:
        for name in ("images", "labels"):
            (tmp_path / name).mkdir()
        mask = (np.arange(64).reshape(8, 8) % 3).astype(np.uint8)
        indexed = Image.fromarray(mask)
        indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        for name in ("a", "b"):
            Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / f"images/{name}.png")
        indexed.save(tmp_path / "labels/a.png")
        indexed.convert("RGB").save(tmp_path / "labels/b.png")
        folder = source(tmp_path, labels="labels/{id}.png")
        first, second = folder.scan()
        label = folder.load(first).label
        assert label is not None
        np.testing.assert_array_equal(label[..., 0].T, mask)
        with pytest.raises(DataError, match="not colours"):
            folder.load(second)


class TestOneBadCase:
    def test_an_image_without_label_and_a_label_without_image_stop_no_other(self, tmp_path: Path) -> None:
        for name in ("p1", "p2", "p3"):
            write(tmp_path / f"images/{name}.nii.gz")
            write(tmp_path / f"labels/{name}.nii.gz", MASK)
        (tmp_path / "labels/p2.nii.gz").unlink()
        write(tmp_path / "labels/p9.nii.gz", MASK)
        folder = source(tmp_path, labels="labels/{id}.nii.gz")
        cases = folder.scan()
        assert [case.id for case in cases] == ["p1", "p2", "p3"], "no other case changes its part of a split"
        assert folder.load(cases[0]).label is not None
        with pytest.raises(DataError) as error:
            folder.load(cases[1])
        one_line(error, "p2.nii.gz: its label", "is missing")
        assert [text for text in reasons(folder) if "p9.nii.gz: it is a label without an image" in text]
        assert not any(problem.warning for problem in folder.problems())

    def test_cases_that_are_declared_missing_are_left_out_without_a_word(self, tmp_path: Path) -> None:
        write(tmp_path / "images/p1.nii")
        write(tmp_path / "images/p2.nii")
        write(tmp_path / "labels/p1.nii", MASK)
        folder = source(tmp_path, labels="labels/{id}.nii", declared_missing=["p2"])
        assert [case.id for case in folder.scan()] == ["p1"]
        assert folder.problems() == []

    def test_a_missing_channel_is_named(self, tmp_path: Path) -> None:
        for name in ("a_t1", "a_t2", "b_t1"):
            write(tmp_path / f"{name}.nii")
        folder = source(tmp_path, images="{id}_{channel}.nii", channels=["t1", "t2"])
        with pytest.raises(DataError, match=r"b_t1.nii: its channel t2 is missing"):
            folder.load(folder.scan()[1])

    def test_a_constant_image_or_channel_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii", np.full((3, 4, 5), 7, np.int16))
        folder = source(tmp_path)
        with pytest.raises(DataError) as error:
            folder.load(folder.scan()[0])
        one_line(error, "a.nii: all 60 voxels have the value 7")

    def test_an_affine_may_differ_by_a_tenth_of_a_voxel(self, tmp_path: Path) -> None:
        wide = np.arange(200 * 4 * 5, dtype=np.int16).reshape(200, 4, 5)
        write(tmp_path / "images/a.nii", wide)
        for scale, right in ((1.0004, True), (1.002, False)):
            write(tmp_path / "labels/a.nii", (wide % 2).astype(np.uint8), np.diag([scale, 1, 1, 1]))
            folder = source(tmp_path, labels="labels/{id}.nii")
            if right:
                assert folder.load(folder.scan()[0]).label is not None
            else:
                with pytest.raises(DataError, match=r"up to 0.398 voxels or 0.398 mm; allowed are 0.1 voxels"):
                    folder.load(folder.scan()[0])

    def test_values_of_64_bits_that_32_cannot_hold_are_called_that(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii", np.where(RAMP == 3, 1e300, RAMP.astype(np.float64)))
        folder = source(tmp_path)
        with pytest.raises(
            DataError, match=r"1 voxels have values of 64 bits beyond those of 32 bits, such as 1e\+300"
        ):
            folder.load(folder.scan()[0])


class TestPatients:
    def test_ids_that_look_like_repeated_patients_are_a_warning(self, tmp_path: Path) -> None:
        for name in ("p01_t1", "p01_t2", "p02_t1", "p02_t2"):
            write(tmp_path / f"images/{name}.nii")
        (problem,) = source(tmp_path).problems()
        assert problem.warning
        assert "4 ids look like several scans of 2 patients, such as p01_t1 and p01_t2" in problem.what
        assert source(tmp_path, patient="^(p[0-9]+)_").problems() == []

    @pytest.mark.parametrize(
        "ids", [["hippocampus_001", "hippocampus_003"], ["s1", "s2"], ["BraTS20_001", "BraTS20_002"]]
    )
    def test_numbered_cases_are_none(self, tmp_path: Path, ids: list[str]) -> None:
        for name in ids:
            write(tmp_path / f"images/{name}.nii")
        assert source(tmp_path).problems() == []


class TestTable:
    def test_rows_are_joined_by_case_with_patient_split_and_attributes(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write(tmp_path / f"images/{name}.nii.gz")
        (tmp_path / "t.csv").write_text(
            "id,patient,split,age,kind\na.nii.gz,p,train,61,benign\nb,p,test,,bad\nz,q,,1,x\n"
        )
        folder = source(tmp_path, table="t.csv", attributes=["age", "kind"])
        cases = folder.scan()
        assert [(case.patient, case.group, dict(case.attributes)) for case in cases] == [
            ("p", "train", {"age": 61.0, "kind": "benign"}),
            ("p", "test", {"kind": "bad"}),
            ("c", "", {}),
        ]
        with pytest.raises(DataError, match=r"t\.csv has no row for it"):
            folder.load(cases[2])
        assert any("1 of its 3 rows have no image, such as 'z'" in text for text in reasons(folder))
        assert folder.manifest()["tables"]

    def test_labels_that_are_a_table_give_all_of_its_columns(self, tmp_path: Path) -> None:
        write(tmp_path / "images/p1.nii.gz")
        (tmp_path / "labels.csv").write_text("id,malignant,age\np1,1,\n")
        folder = source(tmp_path, labels="labels.csv")
        assert folder.scan()[0].attributes == {"malignant": 1.0}
        assert (folder.scan()[0].label, folder.config.attributes) == (None, ("*",))
        assert FolderConfig.model_validate(folder.config.key_content()) == folder.config

    def test_a_column_of_images_lists_the_cases(self, tmp_path: Path) -> None:
        write(tmp_path / "deep/er/a.nii")
        write(tmp_path / "m.nii", MASK)
        (tmp_path / "t.tsv").write_text(
            "scan\timage\tlabel\nx\tdeep/er/a.nii\tm.nii\ny\t../b.nii\tm.nii\nz\tno.nii\tm.nii\n"
        )
        folder = source(tmp_path, table="t.tsv", columns={"case": "scan"})
        first, second, third = folder.scan()
        assert folder.load(first).label is not None
        for case, reason in ((second, "outside of the data set's folder"), (third, "no.nii is missing")):
            with pytest.raises(DataError, match=reason):
                folder.load(case)

    def test_findings_in_one_column_become_attributes_of_0_and_1(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii")
        (tmp_path / "t.csv").write_text("Image Index,Findings\na.nii,Effusion|Mass\n")
        config = {"table": "t.csv", "columns": {"case": "Image Index"}, "findings_column": "Findings"}
        (case,) = source(tmp_path, **config, attributes=["Mass", "Hernia"]).scan()
        assert case.attributes == {"Mass": 1.0, "Hernia": 0.0}

    def test_a_missing_table_or_column_is_one_line(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.nii")
        for content, part in (
            ("id,age\na,3\n", "no column 'agee'. Did you mean 'age'"),
            ("", "no rows"),
            (None, "missing"),
        ):
            (tmp_path / "t.csv").unlink(missing_ok=True)
            if content is not None:
                (tmp_path / "t.csv").write_text(content)
            with pytest.raises(DataError) as error:
                source(tmp_path, table="t.csv", attributes=["agee"]).scan()
            one_line(error, "t.csv", part)

    def test_attributes_need_a_table(self) -> None:
        with pytest.raises(ValidationError, match="attributes needs `table`"):
            FolderConfig(attributes=("age",))


class TestNnunet:
    def make(self, root: Path) -> Path:
        for name in ("m_001", "m_002"):
            write(root / f"imagesTr/{name}_0000.nii.gz")
            write(root / f"imagesTr/{name}_0001.nii.gz", RAMP * 2)
            write(root / f"labelsTr/{name}.nii.gz", MASK)
        (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"a": 1}}))
        return root

    def test_it_is_recognised_with_its_channels(self, tmp_path: Path) -> None:
        folder = recognised(self.make(tmp_path))
        assert folder.config == FolderConfig(layout="nnunet", labels="labelsTr/{id}", channels=("T2", "ADC"))
        cases = folder.scan()
        assert [case.id for case in cases] == ["m_001", "m_002"]
        study = folder.load(cases[0])
        np.testing.assert_array_equal(study.image, np.stack([RAMP, RAMP * 2]))
        np.testing.assert_array_equal(study.label, MASK)

    def test_one_channel_is_chosen_by_name_and_none_is_an_error(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        one = source(tmp_path, layout="nnunet", channels=["ADC"])
        np.testing.assert_array_equal(one.load(one.scan()[0]).image, RAMP * 2)
        for channels, reason in (([], "it has 2 channels. Name those"), (["T1"], "it has no channel 'T1'")):
            with pytest.raises(DataError, match=reason):
                source(tmp_path, layout="nnunet", channels=channels).scan()

    def test_a_test_part_with_labels_is_a_group(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        write(tmp_path / "imagesTs/m_003_0000.nii.gz")
        write(tmp_path / "labelsTs/m_003.nii.gz", MASK)
        folder = source(tmp_path, layout="nnunet", channels=["T2"], labels="labelsTr/{id}")
        assert [case.group for case in folder.scan()] == ["train", "train", "test"]


class TestDecathlon:
    def test_dataset_json_lists_images_labels_and_channels(self, tmp_path: Path) -> None:
        names = ["BRATS_001", "BRATS_002"]
        for name in names:
            write(tmp_path / f"imagesTr/{name}.nii.gz", np.stack([RAMP, RAMP + 1], axis=3))
        write(tmp_path / "labelsTr/BRATS_001.nii.gz", MASK)
        files = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
        (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "FLAIR", "1": "T1w"}, "training": files}))
        folder = recognised(tmp_path)
        assert folder.config == FolderConfig(layout="msd", labels="dataset.json", channels=("FLAIR", "T1w"))
        first, second = folder.scan()
        assert folder.load(first).image.shape == (2, 3, 4, 5)
        with pytest.raises(DataError, match="its label is missing"):
            folder.load(second)


class TestBids:
    def test_subjects_sessions_and_derivatives_are_read(self, tmp_path: Path) -> None:
        for stem in (
            "sub-01/ses-1/anat/sub-01_ses-1",
            "sub-01/ses-2/anat/sub-01_ses-2",
            "sub-02/ses-1/anat/sub-02_ses-1",
        ):
            write(tmp_path / f"{stem}_T1w.nii.gz")
            write(tmp_path / f"derivatives/manual/{stem}_desc-x_dseg.nii.gz", MASK)
        (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t40\nsub-02\t50\n")
        config = recognise(tmp_path)
        assert config == FolderConfig(
            layout="bids", channels=("T1w",), labels="derivatives/**/*_dseg.nii*", table="participants.tsv"
        )
        folder = FolderSource(config.model_copy(update={"attributes": ("age",)}), tmp_path)
        cases = folder.scan()
        assert [(case.id, case.patient) for case in cases][:2] == [
            ("sub-01_ses-1", "sub-01"),
            ("sub-01_ses-2", "sub-01"),
        ]
        assert [case.attributes["age"] for case in cases] == [40, 40, 50]
        assert folder.load(cases[0]).label is not None
        assert folder.problems() == []

    def test_several_images_without_channels_are_an_error_that_names_them(self, tmp_path: Path) -> None:
        for suffix in ("T1w", "FLAIR"):
            write(tmp_path / f"sub-1/anat/sub-1_{suffix}.nii")
        with pytest.raises(DataError, match=r"its images are FLAIR, T1w\. Name the suffixes"):
            source(tmp_path, layout="bids").scan()
        both = source(tmp_path, layout="bids", channels=["FLAIR", "T1w"])
        assert both.load(both.scan()[0]).image.shape == (2, 3, 4, 5)


class TestRecognisedPatterns:
    @pytest.mark.parametrize(
        ("files", "images", "labels"),
        [
            (["images/{}.nii.gz", "labels/{}.nii.gz"], "images/*", "labels/{id}.nii.gz"),
            (["{}.nii.gz", "{}_seg.nii.gz"], "*", "{id}_seg.nii.gz"),
            (["{}/image.nii.gz", "{}/mask.nii.gz"], "{patient}/image.nii.gz", "{patient}/mask.nii.gz"),
            (["{}/{}_ct.nii.gz", "{}/{}_seg.nii"], "{patient}/{id}_ct.nii.gz", "{patient}/{id}_seg.nii"),
        ],
    )
    def test_flat_folders_and_folders_of_patients(
        self, tmp_path: Path, files: list[str], images: str, labels: str
    ) -> None:
        for name in ("p1", "p2", "p3"):
            for index, file in enumerate(files):
                write(tmp_path / file.format(name, name), MASK if index else RAMP)
        folder = recognised(tmp_path)
        assert folder.config == FolderConfig(images=images, labels=labels)
        cases = folder.scan()
        assert [case.id for case in cases] == ["p1", "p2", "p3"]
        np.testing.assert_array_equal(folder.load(cases[1]).label, MASK)
        assert folder.problems() == []

    def test_a_table_of_the_cases_is_found_and_a_folder_without_images_is_none(self, tmp_path: Path) -> None:
        assert recognise(tmp_path) is None
        write(tmp_path / "images/p1.nii")
        (tmp_path / "labels.csv").write_text("id,malignant\np1,1\n")
        assert recognise(tmp_path) == FolderConfig(images="images/*", table="labels.csv")


class TestRealFolders:
    @pytest.mark.parametrize(
        ("name", "config", "cases", "shape"),
        [
            ("msd_hippocampus", {"images": "imagesTr/*", "labels": "labelsTr/{id}.nii.gz"}, 60, (35, 51, 35)),
            (
                "brats",
                {
                    "images": "{patient}/{id}_{channel}.nii.gz",
                    "labels": "{patient}/{id}_seg.nii.gz",
                    "channels": ("flair", "t1", "t1ce", "t2"),
                },
                2,
                (4, 240, 240, 155),
            ),
            (
                "sts_ct_mr",
                {"images": "{patient}/CT_image.nii.gz", "labels": "{patient}/CT_mask.nii.gz"},
                4,
                (141, 137, 51),
            ),
            ("nih_cxr14/images_256", {"images": "*"}, 621, (256, 256, 1)),
            ("lidc_idri/LIDC-IDRI-0003", {"layout": "dicom"}, 1, (512, 512, 28)),
        ],
    )
    def test_they_are_recognised_and_read(
        self, real_data: Path, name: str, config: dict[str, object], cases: int, shape: tuple[int, ...]
    ) -> None:
        folder = recognised(real_data / name)
        assert folder.config == FolderConfig.model_validate(config)
        found = folder.scan()
        assert len(found) == cases
        study = folder.load(found[0])
        assert study.image.shape == shape
        assert (study.label is not None) == (folder.config.labels is not None)
        assert folder.problems() == []
