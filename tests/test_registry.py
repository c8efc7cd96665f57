"""Names are found in this package and in others; what cannot be used names its culprit."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sg_bench.errors import UsageError
from sg_bench.methods.configs import MethodConfig, ScratchConfig
from sg_bench.registry import METHODS, SOURCES, Entry, Registry
from sg_bench.registry.plugins import plugin_code

SCRATCH = Entry("sg_bench.methods.configs:ScratchConfig", "builtins:object", "nothing")
PLUGIN = """
from sg_bench.methods.configs import MethodConfig
from sg_bench.registry import Entry

class Config(MethodConfig):
    strength: float = 1.0

class Method:
    pass

METHOD = Entry("tiny_plugin:Config", "tiny_plugin:Method", "a method of another package")
NOTHING = 3
NO_CONFIG = Entry("builtins:int", "tiny_plugin:Method", "")
GONE = Entry("tiny_plugin:Gone", "tiny_absent:Method", "")
NO_CLASS = Entry("tiny_plugin:Config", "tiny_absent:Method", "")

class Hungry(Config):
    needs = frozenset({"corpus", "labels"})

class Nowhere(Config):
    dimensions = frozenset()

HUNGRY = Entry("tiny_plugin:Hungry", "tiny_plugin:Method", "")
NOWHERE = Entry("tiny_plugin:Nowhere", "tiny_plugin:Method", "")
"""
WHOLE = """
from sg_bench.methods.autoencoder import Autoencoder
from sg_bench.methods.base import Method

class Whole(Autoencoder):
    pass

class Half(Method):
    def network(self):
        return None

    def sampling(self):
        return None

class Other:
    pass
"""
LEARNER = """
from sg_bench.methods.autoencoder import Autoencoder
from sg_bench.methods.configs import MethodConfig
from sg_bench.registry import Entry

class Config(MethodConfig):
    strength: float = 1.0

METHOD = Entry("learner_plugin:Config", "sg_bench.methods.autoencoder:Autoencoder", "a method of another package")
"""


def methods() -> Registry:
    return Registry(
        "method",
        {"scratch": SCRATCH},
        "sg_bench.methods",
        base=METHODS.base,
        target_base=METHODS.target_base,
        addons=METHODS.addons,
    )


class Site:
    """A folder on sys.path into which packages are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, entry_points: str, code: str = PLUGIN, module: str = "tiny_plugin") -> None:
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sg_bench.methods]\n{entry_points}\n")
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("tiny_plugin", "learner_plugin"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return Site(tmp_path)


def message(caught: pytest.ExceptionInfo[UsageError]) -> str:
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("registry", [METHODS, SOURCES])
def test_every_built_in_config_extends_the_base_of_its_kind(registry: Registry) -> None:
    assert all(registry.config(name)() is not None for name in registry.names())
    assert all(registry.entry(name).summary for name in registry.names())


@pytest.mark.parametrize("registry", [METHODS, SOURCES])
def test_every_built_in_class_can_be_loaded(registry: Registry) -> None:
    assert all(isinstance(registry.load(name), type) for name in registry.names())


def test_a_config_is_known_without_importing_its_method(site: Site) -> None:
    registry = methods()
    registry.register("mine", Entry("sg_bench.methods.configs:ScratchConfig", "no_such_module:Mine", ""))
    assert registry.config("mine") is ScratchConfig


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'scrath'\. Did you mean 'scratch'"):
        methods().entry("scrath")


def test_two_owners_of_one_name_are_both_named() -> None:
    with pytest.raises(UsageError, match="method 'scratch' of somebody is already registered by sg-bench") as caught:
        methods().register("scratch", SCRATCH, owner="somebody")
    assert "Rename" in message(caught)


def test_an_installed_packages_method_is_found_by_its_entry_point(site: Site) -> None:
    site.install("tiny-package", "tiny = tiny_plugin:METHOD")
    registry = methods()
    assert registry.names() == ["scratch", "tiny"]
    assert issubclass(registry.config("tiny"), MethodConfig)
    assert registry.config("tiny").model_fields["strength"].default == 1.0
    assert registry.broken() == {}


def test_a_package_that_takes_a_built_in_name_is_named_and_does_not_get_it(site: Site) -> None:
    site.install("tiny-package", "scratch = tiny_plugin:METHOD")
    registry = methods()
    reason = str(registry.broken()["scratch"])
    assert "'scratch' of tiny-package (tiny_plugin:METHOD) is already registered by sg-bench" in reason
    assert registry.entry("scratch") is SCRATCH


def test_two_packages_with_one_name_are_both_named_and_neither_gets_it(site: Site) -> None:
    site.install("tiny-two", "tiny = tiny_plugin:METHOD")
    site.install("tiny-one", "tiny = tiny_plugin:METHOD")
    registry = methods()
    assert registry.names() == ["scratch"]
    with pytest.raises(UsageError, match=r"'tiny' of tiny-one .* is already registered by tiny-two") as caught:
        registry.entry("tiny")
    message(caught)


@pytest.mark.parametrize("name", ["tiny+semantics", "+tiny", "1tiny", "my tiny", "tiny[2]"])
def test_a_name_that_suites_could_not_write_is_refused(site: Site, name: str) -> None:
    site.install("tiny-package", f"{name} = tiny_plugin:METHOD")
    registry = methods()
    assert registry.names() == ["scratch"]
    assert f"method '{name}' of tiny-package" in str(registry.broken()[name])
    assert registry.broken()[name].hint


@pytest.mark.parametrize(
    ("target", "code", "cause"),
    [
        ("tiny_plugin:METHOD", "import no_such_library", "No module named 'no_such_library'"),
        ("tiny_plugin:METHOD", "METHOD = 1 / 0", "division by zero"),
        ("tiny_plugin:METHOD", "not Python at all", "SyntaxError"),
        ("tiny_plugin:MISSING", PLUGIN, "MISSING"),
        ("tiny_plugin:NOTHING", PLUGIN, "is a int, not a registry.Entry"),
    ],
)
def test_a_broken_package_is_named_with_its_cause_every_time(site: Site, target: str, code: str, cause: str) -> None:
    site.install("tiny-package", f"tiny = {target}", code)
    registry = methods()
    for _ in range(2):
        with pytest.raises(UsageError, match="tiny-package") as caught:
            registry.entry("tiny")
        assert cause in message(caught)


def test_a_broken_package_takes_no_other_method_down(site: Site) -> None:
    site.install("tiny-package", "tiny = tiny_plugin:METHOD", "METHOD = 1 / 0")
    site.install("whole-package", "whole = whole_plugin:METHOD", PLUGIN.replace("tiny_", "whole_"), "whole_plugin")
    registry = methods()
    assert registry.names() == ["scratch", "whole"]
    assert registry.entry("whole").summary == "a method of another package"
    assert list(registry.broken()) == ["tiny"]


@pytest.mark.parametrize(
    ("name", "ask", "cause"),
    [
        ("NO_CONFIG", "config", "builtins:int is not a sg_bench.methods.configs:MethodConfig"),
        ("GONE", "config", "tiny_plugin:Gone cannot be imported"),
        ("NO_CLASS", "load", "tiny_absent:Method cannot be imported: No module named 'tiny_absent'"),
        ("HUNGRY", "config", "tiny_plugin:Hungry declares needs = {'corpus', 'labels'}. Let it be a frozenset of"),
        ("NOWHERE", "config", "tiny_plugin:Nowhere declares dimensions = {}. Let it be a frozenset of one or more"),
        ("METHOD", "load", "tiny_plugin:Method is not a sg_bench.methods.base:Method. Let it extend"),
    ],
)
def test_an_entry_that_leads_nowhere_is_named_with_its_package(site: Site, name: str, ask: str, cause: str) -> None:
    site.install("tiny-package", f"tiny = tiny_plugin:{name}")
    with pytest.raises(UsageError, match="'tiny' of tiny-package") as caught:
        getattr(methods(), ask)("tiny")
    assert cause in message(caught)


def test_a_class_that_is_unfinished_is_told_what_it_lacks(site: Site) -> None:
    site.install("half-package", "", WHOLE, module="half_plugin")
    registry = methods()
    for name in ("Whole", "Half"):
        registry.register(name, Entry("sg_bench.methods.configs:ScratchConfig", f"half_plugin:{name}", ""))
    assert registry.load("Whole").__name__ == "Whole"
    with pytest.raises(UsageError, match=r"half_plugin:Half lacks losses, make_batch\. Define losses") as caught:
        registry.load("Half")
    message(caught)


def test_packages_are_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = methods()
    registry.names()

    def refuse(**_: Any) -> None:
        raise AssertionError("looked up again")

    monkeypatch.setattr("sg_bench.registry.base.metadata.entry_points", refuse)
    assert registry.names() == ["scratch"]


class TestAddOns:
    @pytest.mark.parametrize("name", METHODS.names())
    def test_semantics_goes_with_every_method_that_learns_from_a_corpus_without_patterns(self, name: str) -> None:
        needs = METHODS.config(name).needs  # type: ignore[attr-defined]
        both = f"{name}+semantics"
        assert (both in METHODS) == (needs == {"corpus"})
        if both in METHODS:
            assert METHODS.config(both).needs == {"corpus", "patterns"}  # type: ignore[attr-defined]
            assert "semantics" in METHODS.config(both).model_fields
            assert METHODS.load(both).base_class is METHODS.load(name)
            assert METHODS.entry(both) is METHODS.entry(name)

    def test_names_are_listed_without_add_ons(self) -> None:
        assert not [name for name in METHODS.names() if "+" in name]

    def test_it_goes_with_another_packages_method(self, site: Site) -> None:
        site.install("learner-package", "mine = learner_plugin:METHOD", LEARNER, "learner_plugin")
        registry = methods()
        assert registry.config("mine+semantics").model_fields["strength"].default == 1.0
        assert issubclass(registry.config("mine+semantics"), registry.config("mine"))
        assert registry.load("mine+semantics").base_class is registry.load("mine")

    @pytest.mark.parametrize(
        ("name", "problem", "hint"),
        [
            ("scratch", "'scratch' does not pretrain", "self_classification"),
            ("semantic_genesis", "'semantic_genesis' uses the self-discovered patterns already", "semantic_genesis"),
            ("self_restoration", "'self_restoration' uses the self-discovered patterns already", "semantic_genesis"),
            ("self_classification", "'self_classification' uses the self-disco.* already", "semantic_genesis"),
        ],
    )
    @pytest.mark.parametrize("ask", ["config", "load"])
    def test_it_is_refused_where_it_makes_no_sense_with_what_to_choose(
        self, name: str, problem: str, hint: str, ask: str
    ) -> None:
        with pytest.raises(UsageError, match=problem) as caught:
            getattr(METHODS, ask)(f"{name}+semantics")
        assert hint in caught.value.hint
        message(caught)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("rotatoin+semantics", "unknown method 'rotatoin' in 'rotatoin+semantics'. Did you mean 'rotation'?"),
            (
                "rotation+semantic",
                "there is no add-on 'semantic'. Did you mean 'semantics'?",
            ),
            ("rotation+semantics+semantics", "there is no add-on 'semantics+semantics'"),
            ("rotation+", "there is no add-on ''. Known: semantics"),
            ("+semantics", "unknown method '' in '+semantics'"),
        ],
    )
    def test_the_wrong_part_of_a_name_is_in_the_message(self, name: str, reason: str) -> None:
        assert name not in METHODS
        with pytest.raises(UsageError) as caught:
            METHODS.config(name)
        assert reason in message(caught)

    def test_sources_have_none(self) -> None:
        with pytest.raises(UsageError, match=r"unknown source 'phantom\+semantics'\. Known: "):
            SOURCES.entry("phantom+semantics")


class TestPluginCode:
    def test_built_in_classes_have_none(self) -> None:
        assert {METHODS.plugin(name) for name in METHODS.names()} == {None}
        assert METHODS.plugin("inpainting+semantics") is None
        assert {SOURCES.plugin(name) for name in SOURCES.names()} == {None}

    def test_it_names_the_package_and_changes_with_any_of_its_source_files(self, site: Site) -> None:
        site.install("learner-package", "mine = learner_plugin:METHOD", LEARNER, "learner_plugin")
        registry = methods()
        before = registry.plugin("mine+semantics")
        assert before is not None
        assert (before.package, before.version, len(before.sha256)) == ("learner-package", "1.0", 64)
        assert registry.plugin("mine") == before
        (site.folder / "learner_plugin.py").write_text(f"{LEARNER}# an edited loss\n")
        after = registry.plugin("mine")
        assert after is not None
        assert after.sha256 != before.sha256

    def test_all_modules_of_a_package_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        (tmp_path / "mine" / "losses").mkdir(parents=True)
        for name in ("__init__.py", "losses/__init__.py", "losses/dice.py"):
            (tmp_path / "mine" / name).write_text("")
        importlib.invalidate_caches()
        distribution = SimpleNamespace(name="mine", version="2")
        digests = set()
        for text in ("a = 1", "a = 2", "a = 2"):
            (tmp_path / "mine" / "losses" / "dice.py").write_text(text)
            digests.add(plugin_code(["mine.methods:Mine"], distribution).sha256)  # type: ignore[arg-type]
        assert len(digests) == 2

    def test_a_class_that_a_script_registers_is_known_by_its_file(self) -> None:
        registry = methods()
        registry.register("mine", Entry(f"{__name__}:TestPluginCode", f"{__name__}:TestPluginCode", ""))
        code = registry.plugin("mine")
        assert code is not None
        assert (code.package, code.version) == ("", "")

    def test_a_class_without_a_source_file_has_no_key(self) -> None:
        registry = methods()
        registry.register("mine", Entry("no_such_module:Config", "no_such_module:Mine", ""))
        with pytest.raises(UsageError, match="source file of module 'no_such_module' cannot be found"):
            registry.plugin("mine")
