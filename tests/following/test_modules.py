"""Which modules and packages are followed, whoever in the process loaded them first."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from partition_core.build.dependencies.installed import owners, version_text
from partition_core.build.dependencies.locating import locate, search_path
from partition_core.build.dependencies.used_modules import Code, forget_results

from .user import User


def use(name: str) -> Callable[[], object]:
    """Return what imports a module as our exporter does, by its name."""
    return lambda: importlib.import_module(name)


def of_ours(labels: list[str]) -> list[str]:
    """Return the labels without what the tests themselves import."""
    return [
        label
        for label in labels
        if not label.startswith(("package ", "module tests")) or "fake" in label
    ]


def distribution(
    site: Path, name: str, version: str, files: dict[str, str], **more: object
) -> None:
    """Install a package by hand, as pip does, into a folder."""
    folder = name.replace("-", "_")
    for old in site.glob(f"{folder}-*.dist-info"):
        shutil.rmtree(old)
    info = f"{folder}-{version}.dist-info"
    content = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    content |= {f"{info}/{file}": json.dumps(text) for file, text in more.items()}
    content |= files
    for file, text in content.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text)
    record = "".join(f"{file},sha256={hash(text)},{len(text)}\n" for file, text in content.items())
    (site / info / "RECORD").write_text(record)
    version_text.cache_clear()


def test_a_module_and_what_it_imports_count_wherever_they_are(user: User) -> None:
    user.write("project/plug/__init__.py", "")
    user.write("project/plug/neck.py", "from . import parts\nfrom shared import deep\n")
    user.write("project/plug/parts.py", "")
    user.write("library/shared/deep.py", "import plain\n")
    user.write("library/plain.py", "")
    user.write("library/unused.py", "")
    labels = of_ours(user.labels(use("plug.neck"), __name__))
    assert labels == [
        *("module plain", "module plug", "module plug.neck", "module plug.parts"),
        *("module shared", "module shared.deep"),
    ]
    before = user.texts(labels)
    for name in ("library/plain.py", "library/shared/deep.py", "project/plug/parts.py"):
        path = user.write(name, f"# {name}\n")
        now = user.texts(labels)
        assert sum(one != other for one, other in zip(before, now, strict=True)) == 1, path
        before = now


@pytest.mark.parametrize(
    "appears",
    ["project/lib.py", "project/lib/__init__.py", "library/lib/__init__.py", "library/lib.so"],
)
def test_a_module_that_would_be_found_earlier_counts(user: User, appears: str) -> None:
    user.write("library/lib.py", "")
    labels = of_ours(user.labels(use("lib"), __name__))
    assert labels == ["module lib"]
    state = user.state()
    with state.digests.watched() as asked:
        before = state.text("module lib")
    user.write(appears, "# another one\n")
    assert user.texts(labels) != [before]
    # A build with nothing to do looks at these and at the times of the folders in `sys.path`.
    path = user.root.parent / appears
    assert {str(path), str(path.parent)} & set(asked)


def test_a_module_that_was_loaded_before_counts_with_all_that_it_read(user: User) -> None:
    user.write("library/net.py", "import parts\n\ndef late():\n    import lazy\n")
    user.write(
        "library/parts.py", "from pathlib import Path\nSIZES = Path('sizes.json').read_text()\n"
    )
    user.write("library/lazy.py", "")
    user.write("library/other.py", "from pathlib import Path\nPath('other.json').read_text()\n")
    user.write("project/sizes.json", "")
    user.write("project/other.json", "")

    def first() -> None:
        use("net")().late()
        use("other")()

    assert of_ours(user.labels(first, __name__)) == [
        *("module lazy", "module net", "module other", "module parts"),
        *("file other.json", "file sizes.json"),
    ]
    # As a second recipe in the same run, or the only one in another.
    again = ["module net", "module parts", "file sizes.json"]
    assert of_ours(user.labels(use("net"), __name__)) == again
    for name in ("net", "parts", "lazy", "other"):
        del sys.modules[name]
    assert of_ours(user.labels(use("net"), __name__)) == again


def test_what_a_function_remembers_is_read_again_for_the_next_export(user: User) -> None:
    user.write("project/a.txt", "1")
    user.write(
        "project/remembering.py",
        "import functools\nfrom pathlib import Path\n\n"
        "@functools.cache\ndef read(name='a.txt'):\n    return Path(name).read_text()\n\n"
        "class Reader:\n    @staticmethod\n    @functools.lru_cache\n"
        "    def read():\n        return read()\n",
    )

    def run() -> None:
        use("remembering")().Reader.read()

    for _ in range(2):
        assert of_ours(user.labels(run, __name__)) == ["module remembering", "file a.txt"]
        forget_results(Code(owners(search_path())))


def test_what_was_there_before_anybody_looked_is_followed_by_its_imports(user: User) -> None:
    user.write("library/early.py", "import deeper, fake_early\n")
    user.write("library/deeper.py", "")
    inner = "class Inner: ...\n"
    distribution(user.library, "fake_held", "1.0", {"fake_held.py": inner})
    held = "from fake_held import Inner\n"
    distribution(user.library, "fake_early", "1.0", {"fake_early.py": held})
    code = (
        "import importlib, sys, early\n"
        "from pathlib import Path\n"
        "from partition_core.base.digests import Digests\n"
        "from partition_core.build.dependencies.current import DependencyState\n"
        "from partition_core.build.dependencies.deducing import KnownInputs, deduced\n"
        "from partition_core.build.dependencies.locating import search_path\n"
        "from partition_core.build.dependencies.watching import watched\n"
        "with watched() as watch:\n    importlib.import_module('early')\n"
        "state = DependencyState(Path.cwd(), search_path(), Digests(Path('d')), Path('build'))\n"
        "print(deduced(watch, state, KnownInputs((), (), (), ('early',))).entries)\n"
    )
    path = os.pathsep.join([str(user.library), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    for label in ("module early", "module deeper", "package fake_early", "package fake_held"):
        assert f"'{label}'" in run.stdout


def test_a_module_that_is_done_without_counts_when_it_appears(user: User) -> None:
    user.write(
        "library/net.py",
        "try:\n    import fast_ops\nexcept ImportError:\n    pass\n"
        "try:\n    from package import faster\nexcept ImportError:\n    pass\n",
    )
    user.write("library/package/__init__.py", "")
    labels = of_ours(user.labels(use("net"), __name__))
    assert labels == [
        *("module fast_ops", "module net", "module package", "module package.faster"),
    ]
    before = user.texts(labels)
    user.write("library/package/faster.py", "")
    user.write("project/fast_ops.py", "")
    now = user.texts(labels)
    assert [before[0], before[3]] == ["missing", "missing"]
    assert "missing" not in now


def test_code_that_is_run_without_being_a_module_counts_as_a_file(user: User) -> None:
    user.write("library/net.py", "X = 1\n")
    user.write("library/failing.py", "import nowhere_at_all\n")

    def run() -> None:
        spec = importlib.util.spec_from_file_location("unnamed", user.library / "net.py")
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        with pytest.raises(ImportError):
            importlib.import_module("failing")
        exec(compile(Path("script.py").read_text(), "script.py", "exec"), {})  # noqa: S102

    user.write("project/script.py", "Y = 1\n")
    labels = of_ours(user.labels(run, __name__))
    library = user.library
    assert sorted(labels) == [
        *(f"file {library}/failing.py", f"file {library}/net.py", "file script.py"),
        "module failing",
    ]


def test_a_folder_that_the_model_adds_to_the_path_needs_no_luck(user: User) -> None:
    user.write("elsewhere/hidden.py", "")

    def run() -> None:
        sys.path.insert(0, str(user.elsewhere))
        importlib.import_module("hidden")

    labels = of_ours(user.labels(run, __name__))
    sys.path.remove(str(user.elsewhere))
    assert labels == [f"file {user.elsewhere}/hidden.py"]
    before = user.texts(labels)
    user.write("elsewhere/hidden.py", "# edited\n")
    assert user.texts(labels) != before


def test_a_module_that_is_edited_after_it_was_loaded_is_told(user: User) -> None:
    path = user.write("library/net.py", "X = 1\n")
    assert user.follow(use("net"), __name__).changed == ()
    time.sleep(0.01)
    path.write_text("X = 2\n")
    # The process goes on with what it loaded.
    assert user.follow(use("net"), __name__).changed == ("module net",)


def test_a_package_counts_by_its_version_and_so_does_what_it_imports(user: User) -> None:
    distribution(user.library, "fake_outer", "1.0", {"fake_outer.py": "import fake_inner\n"})
    distribution(
        user.library,
        "fake-inner",
        "2.0",
        {"fake_inner/__init__.py": "from pathlib import Path\nPath('x').read_text()\n"},
    )
    user.write("project/x", "")
    user.write("project/net.py", "import fake_outer\n")
    labels = of_ours(user.labels(use("net"), __name__))
    assert labels == ["module net", "package fake-inner", "package fake_outer"]
    assert user.texts(labels)[1:] == ["2.0", "1.0"]
    user.write("library/fake_outer.py", "import fake_inner  # edited by hand\n")
    assert user.texts(labels)[1:] == ["2.0", "1.0"]
    distribution(user.library, "fake-inner", "2.1", {"fake_inner/__init__.py": ""})
    assert user.texts(labels)[1:] == ["2.1", "1.0"]


def test_what_is_installed_editable_or_dropped_in_by_hand_counts_by_its_content(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = user.root.parent / "site-packages"
    origin = {"url": f"file://{user.elsewhere}", "dir_info": {"editable": True}}
    distribution(
        site,
        "fake-editable",
        "1.0",
        {"fake.pth": f"{user.elsewhere}\n"},
        **{"direct_url.json": origin},
    )
    user.write("elsewhere/fake_editable.py", "")
    user.write("site-packages/dropped.py", "")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(user.elsewhere))
    user.write("project/net.py", "import fake_editable, dropped\n")
    labels = of_ours(user.labels(use("net"), __name__))
    assert labels == ["module dropped", "module fake_editable", "module net"]
    before = user.texts(labels)
    user.write("elsewhere/fake_editable.py", "# edited\n")
    assert user.texts(labels) != before


def test_what_was_installed_from_a_folder_counts_by_its_files_too(user: User) -> None:
    origin = {"url": "file:///somewhere", "dir_info": {}}
    search = search_path()
    texts = []
    for content in ("X = 1\n", "X = 1\n", "X = 2\n"):
        distribution(
            user.library,
            "fake_built",
            "1.0",
            {"fake_built.py": content},
            **{"direct_url.json": origin},
        )
        texts.append(version_text("fake_built", search))
    assert texts[0] == texts[1] != texts[2]
    assert str(texts[0]).startswith("1.0 (")


def test_a_leftover_of_building_in_the_project_makes_it_no_installed_package(user: User) -> None:
    user.write("project/mine/__init__.py", "")
    user.write("project/mine.egg-info/PKG-INFO", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    user.write("project/mine.egg-info/SOURCES.txt", "mine/__init__.py\n")
    user.write("project/mine.egg-info/top_level.txt", "mine\n")
    assert of_ours(user.labels(use("mine"), __name__)) == ["module mine"]


def test_a_module_is_located_without_importing_it(user: User) -> None:
    user.write("library/boom/__init__.py", "raise RuntimeError\n")
    inner = user.write("library/boom/inner.py", "raise RuntimeError\n")
    found = locate("boom.inner", search_path())
    assert found is not None
    assert found.file == str(inner)
    assert locate("boom.nowhere", search_path()) is None
    assert locate("boom.inner.deeper", search_path()) is None
    assert "boom" not in sys.modules
