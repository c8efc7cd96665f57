"""The built-in methods, networks and sources."""

from __future__ import annotations

from sg_bench.registry.base import AddOn, Entry, Registry

AUTOENCODER = "autoencoder"
"""The method that self-discovery takes latents from."""

METHODS = Registry(
    "method",
    {
        AUTOENCODER: Entry(
            "sg_bench.methods.configs:AutoencoderConfig",
            "sg_bench.methods.autoencoder:Autoencoder",
            "reconstructs whole volumes; its latents drive self-discovery",
        ),
        "inpainting": Entry(
            "sg_bench.methods.configs:InpaintingConfig",
            "sg_bench.methods.inpainting:Inpainting",
            "restores random crops painted over with boxes of noise (after Pathak et al. 2016)",
        ),
        "masked_autoencoder": Entry(
            "sg_bench.methods.configs:MaskedAutoencoderConfig",
            "sg_bench.methods.masked_autoencoder:MaskedAutoencoder",
            "restores blanked patches that the encoder never sees (light edition of SparK, Tian et al. 2023)",
        ),
        "checkpoint": Entry(
            "sg_bench.methods.published_config:CheckpointConfig",
            "sg_bench.methods.published:Checkpoint",
            "your own weights: added by `sg-bench weights add NAME FILE --network NETWORK`, config: {weights: NAME}",
        ),
        "imagenet": Entry(
            "sg_bench.methods.published_config:ImageNetConfig",
            "sg_bench.methods.published:Published",
            "published: ResNet-18 trained on ImageNet with labels, for films and slices",
        ),
        "medicalnet": Entry(
            "sg_bench.methods.published_config:MedicalNetConfig",
            "sg_bench.methods.published:Published",
            "published: 3D ResNet trained with labels on many segmentation data sets (Chen et al. 2019)",
        ),
        "masked_autoencoder_vit": Entry(
            "sg_bench.methods.view_configs:MaskedAutoencoderViTConfig",
            "sg_bench.methods.masked_autoencoder_vit:MaskedAutoencoderViT",
            "restores masked patches from the visible ones with a vision transformer (He et al. 2022)",
        ),
        "models_genesis": Entry(
            "sg_bench.methods.configs:ModelsGenesisConfig",
            "sg_bench.methods.models_genesis:ModelsGenesis",
            "restores corrupted random crops (Zhou et al. 2019)",
        ),
        "models_genesis_published": Entry(
            "sg_bench.methods.published_config:ModelsGenesisPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' Models Genesis of chest CT (Zhou et al. 2019)",
        ),
        "niftynet": Entry(
            "sg_bench.methods.published_config:NiftyNetConfig",
            "sg_bench.methods.published:Checkpoint",
            "published: NiftyNet's dense V-Net, trained with labels on abdominal CT (Gibson et al. 2018)",
        ),
        "patch_shuffling": Entry(
            "sg_bench.methods.configs:PatchShufflingConfig",
            "sg_bench.methods.patch_shuffling:PatchShuffling",
            "restores random crops whose patches changed places (context restoration, Chen et al. 2019)",
        ),
        "rotation": Entry(
            "sg_bench.methods.configs:RotationConfig",
            "sg_bench.methods.rotation:Rotation",
            "predicts by how many quarters a random crop was turned (Gidaris et al. 2018)",
        ),
        "rubiks_cube": Entry(
            "sg_bench.methods.configs:RubiksCubeConfig",
            "sg_bench.methods.rubiks_cube:RubiksCubeMethod",
            "predicts the order and the turns of 2x2x2 sub-cubes (Zhuang et al. 2019); re-implemented from the paper, "
            "no official code exists; 3D only",
        ),
        "scratch": Entry(
            "sg_bench.methods.configs:ScratchConfig",
            "sg_bench.methods.scratch:Scratch",
            "no pretraining: random weights",
        ),
        "semantic_genesis": Entry(
            "sg_bench.methods.configs:SemanticGenesisConfig",
            "sg_bench.methods.semantic_genesis:SemanticGenesis",
            "classifies self-discovered patterns and restores them when corrupted (Haghighi et al. 2020)",
        ),
        "semantic_genesis_published": Entry(
            "sg_bench.methods.published_config:SemanticGenesisPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' Semantic Genesis of chest CT (Haghighi et al. 2020)",
        ),
        "transvw_published": Entry(
            "sg_bench.methods.published_config:TransVWPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' TransVW of chest CT (Haghighi et al. 2021)",
        ),
        "self_classification": Entry(
            "sg_bench.methods.configs:SelfClassificationConfig",
            "sg_bench.methods.self_classification:SelfClassification",
            "classifies self-discovered patterns: semantic_genesis without restoration",
        ),
        "self_restoration": Entry(
            "sg_bench.methods.configs:SelfRestorationConfig",
            "sg_bench.methods.self_restoration:SelfRestoration",
            "restores self-discovered patterns when corrupted: semantic_genesis without classification",
        ),
        "dino": Entry(
            "sg_bench.methods.view_configs:DINOConfig",
            "sg_bench.methods.dino:DINO",
            "predicts from each view what a moving average of itself makes of the large ones (Caron et al. 2021)",
        ),
        "jigsaw": Entry(
            "sg_bench.methods.view_configs:JigsawConfig",
            "sg_bench.methods.jigsaw:Jigsaw",
            "predicts the order of the tiles of a random crop (Noroozi and Favaro 2016)",
        ),
        "moco_v2": Entry(
            "sg_bench.methods.view_configs:MoCoV2Config",
            "sg_bench.methods.moco_v2:MoCoV2",
            "finds the key of the same image among those of a queue (Chen et al. 2020)",
        ),
        "simclr": Entry(
            "sg_bench.methods.view_configs:SimCLRConfig",
            "sg_bench.methods.simclr:SimCLR",
            "finds the other view of the same image in the batch (Chen et al. 2020)",
        ),
        "vicreg": Entry(
            "sg_bench.methods.view_configs:VICRegConfig",
            "sg_bench.methods.vicreg:VICReg",
            "embeds two views alike, with units that vary and do not covary (Bardes et al. 2022)",
        ),
        "voco": Entry(
            "sg_bench.methods.view_configs:VoCoConfig",
            "sg_bench.methods.voco:VoCo",
            "predicts by how much random crops overlap the parts of a region (Wu et al. 2024)",
        ),
        "volume_fusion": Entry(
            "sg_bench.methods.view_configs:VolumeFusionConfig",
            "sg_bench.methods.volume_fusion:VolumeFusion",
            "segments by how much voxels are of another image (Wang et al. 2023)",
        ),
    },
    group="sg_bench.methods",
    base="sg_bench.methods.configs:MethodConfig",
    target_base="sg_bench.methods.base:Method",
    addons={
        "semantics": AddOn("sg_bench.methods.configs:with_semantics", "sg_bench.methods.semantics:with_semantics"),
    },
)

NETWORKS = Registry(
    "network",
    {
        "dense_vnet": Entry(
            "sg_bench.networks.configs:DenseVNetConfig",
            "sg_bench.networks.dense_vnet:DenseVNet",
            "3D: NiftyNet's dense V-Net of abdominal CT (Gibson et al. 2018)",
        ),
        "i3d": Entry(
            "sg_bench.networks.configs:I3DConfig",
            "sg_bench.networks.i3d:I3D",
            "3D: Inception-v1 inflated, with a generic decoder (Carreira and Zisserman 2017)",
        ),
        "medicalnet": Entry(
            "sg_bench.networks.configs:MedicalNetNetworkConfig",
            "sg_bench.networks.published.resnet3d:MedicalNet",
            "3D: MedicalNet's dilated ResNet-10, 18, 34 or 50, with a decoder (Chen et al. 2019)",
        ),
        "resenc_unet": Entry(
            "sg_bench.networks.configs:ResEncUNetConfig",
            "sg_bench.networks.resenc:ResEncUNet",
            "2D and 3D: nnU-Net's residual-encoder U-Net (Isensee et al. 2024)",
        ),
        "resnet18": Entry(
            "sg_bench.networks.configs:ResNet18NetworkConfig",
            "sg_bench.networks.resnet:Encoder2D",
            "2D: the papers' ResNet-18 with a decoder (He et al. 2016)",
        ),
        "swin_unetr": Entry(
            "sg_bench.networks.configs:SwinUNETRConfig",
            "sg_bench.networks.swin_unetr:SwinUNETR",
            "2D and 3D: MONAI's SwinUNETR (Hatamizadeh et al. 2022)",
        ),
        "unet3d": Entry(
            "sg_bench.networks.configs:UNet3DNetworkConfig",
            "sg_bench.networks.unet:Encoder3D",
            "3D: the papers' U-Net (Zhou et al. 2019)",
        ),
        "vit": Entry(
            "sg_bench.networks.configs:ViTConfig",
            "sg_bench.networks.vit:ViT",
            "2D and 3D: plain vision transformer with a light decoder (Dosovitskiy et al. 2021)",
        ),
    },
    group="sg_bench.networks",
    base="sg_bench.networks.configs:NetworkConfig",
    target_base="sg_bench.networks.backbone:Backbone",
)

SOURCES = Registry(
    "source",
    {
        "brats2018": Entry(
            "sg_bench.data.sources.brats2018:Brats2018Config",
            "sg_bench.data.sources.brats2018:Brats2018Source",
            "BraTS-2018: brain MRI of glioma, four sequences, tumour labels",
        ),
        "chestxray14": Entry(
            "sg_bench.data.sources.chestxray14:ChestXray14Config",
            "sg_bench.data.sources.chestxray14:ChestXray14Source",
            "NIH ChestX-ray14: chest films with 14 findings",
        ),
        "folder": Entry(
            "sg_bench.data.sources.folder:FolderConfig",
            "sg_bench.data.sources.folder:FolderSource",
            "your own NIfTI or MetaImage files",
        ),
        "lidc_idri": Entry(
            "sg_bench.data.sources.lidc_idri:LidcIdriConfig",
            "sg_bench.data.sources.lidc_idri:LidcIdriSource",
            "LIDC-IDRI: chest CT with the nodules that up to four readers outlined",
        ),
        "lits": Entry(
            "sg_bench.data.sources.lits:LitsConfig",
            "sg_bench.data.sources.lits:LitsSource",
            "LiTS-2017: abdominal CT with liver and lesions",
        ),
        "luna16": Entry(
            "sg_bench.data.sources.luna16:Luna16Config",
            "sg_bench.data.sources.luna16:Luna16Source",
            "LUNA16: chest CT with nodule candidates",
        ),
        "phantom": Entry(
            "sg_bench.data.sources.phantom:PhantomConfig",
            "sg_bench.data.sources.phantom:PhantomSource",
            "procedural chest CT, brain MRI and films, nothing to download",
        ),
        "siim_acr": Entry(
            "sg_bench.data.sources.siim_acr:SiimAcrConfig",
            "sg_bench.data.sources.siim_acr:SiimAcrSource",
            "SIIM-ACR 2019: chest films with outlined pneumothorax",
        ),
    },
    group="sg_bench.sources",
    base="sg_bench.data.sources.base:SourceConfig",
    target_base="sg_bench.data.sources.base:Source",
)
