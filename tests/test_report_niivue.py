"""NiiVue in the review page: taken from the installed package, run by nobody but the browser, and given true NIfTIs.

ipyniivue itself is not needed here: a stand-in with its interface keeps what it is given.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from browsing import browser_tab
from lichen.errors import DependencyError
from lichen.report import niivue
from lichen.report.niivue import niivue_script
from lichen.report.review import review_page, write_review
from test_report_review import grey, opened, pairs, press, until

STAND_IN = """
const kept = { opacities: [] };
async function draw(model) {
  const found = model.get("volumes").map((name) => model.widget_manager.get_model(name.slice("IPY_MODEL_".length)));
  kept.volumes = await Promise.all(found);
  for (const volume of kept.volumes) {
    volume.on("change:opacity", () => kept.opacities.push(volume.get("opacity")));
  }
  kept.colormaps = kept.volumes.map((volume) => volume.get("colormap"));
  kept.files = kept.volumes.map((volume) => btoa(String.fromCharCode(...new Uint8Array(volume.get("data").buffer))));
}
globalThis.kept = kept;
var Ih = {
  async initialize({ model }) { kept.options = model.get("opts"); model.on("change:volumes", () => draw(model)); },
  async render({ model, el }) { el.append(document.createElement("canvas")); await draw(model); },
};
export{Ih as default};
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script of a package ipyniivue that must not be imported."""
    script = tmp_path / "site" / "ipyniivue" / "static" / "widget.js"
    script.parent.mkdir(parents=True)
    script.parents[1].joinpath("__init__.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    script.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return script


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"ipyniivue, which is not installed\n  fix: pip install 'lichen\[viewer"):
        niivue_script()


@pytest.mark.parametrize("text", [None, "", "export{a};", "a=1;", "a='</SCRIPT>';export{a as default};", "b"])
def test_a_package_of_another_kind_is_refused(installed: Path, text: str | None) -> None:
    installed.unlink()
    if text is not None:
        installed.write_text(text, encoding="utf-8")
    with pytest.raises(DependencyError, match="of a version that lichen cannot put into a page"):
        niivue_script()


def test_the_module_names_its_object_and_nothing_else_changes(installed: Path) -> None:
    found = niivue_script()
    assert STAND_IN.replace("export{Ih as default};\n", "\nglobalThis.lichenNiivue = Ih;\n") in found.text
    digest = base64.b64encode(hashlib.sha256(found.text.encode()).digest()).decode()
    assert found.sha256 == f"sha256-{digest}"


def test_pictures_do_without_it(installed: Path) -> None:
    page = review_page(pairs((1, 8, 8), 1), "ab" * 32, niivue=niivue_script())
    assert "img-src" not in page
    assert "widget_manager.get_model(name" not in page
    assert 'value="niivue"' not in page


def test_the_browser_gives_it_the_volumes_where_they_belong(installed: Path, tmp_path: Path) -> None:
    spacing = (1.0, 1.5, 2.0)
    shown = pairs((1, 7, 6, 5), 2)
    shown[1].aligned[0, 0] = np.nan
    path = write_review(tmp_path, review_page(shown, "ab" * 32, spacing=spacing, niivue=niivue_script()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', path.read_text("utf-8"))
    assert policy is not None
    assert "img-src data:;" in policy[1]
    with browser_tab(tmp_path / "profile") as tab:
        opened(tab, path)
        press(tab, "5")
        for pair in shown:
            first = 1 + round(float(pair.training[0, 0, 0, 0] + 1) * 127)
            until(tab, f"window.kept.files && atob(kept.files[0]).charCodeAt(352) === {first}")
            assert tab.run("kept.colormaps") == ["gray", "warm"]
            for number, image in enumerate((pair.training, pair.aligned)):
                file = nib.Nifti1Image.from_bytes(base64.b64decode(tab.run(f"kept.files[{number}]")))
                turned = nib.as_closest_canonical(file)
                voxels = np.asarray(turned.dataobj).astype(float)
                expected = np.where(np.isnan(image[0]), 0, 1 + grey(image[0]) * 254 / 255)
                np.testing.assert_allclose(voxels, expected, atol=0.51)
                np.testing.assert_allclose(np.diag(turned.affine)[:3], spacing)
                centre = turned.affine @ [3, 2.5, 2, 1]
                np.testing.assert_allclose(centre[:3], 0, atol=1e-6)
            press(tab, "n")
        tab.enter("fade", "0.8")
        assert tab.run("kept.opacities")[-1] == 0.8
        assert tab.run("kept.options.dragAndDropEnabled") is False
        assert tab.run("document.getElementById('panes').hidden")
        press(tab, "1")
        assert tab.run("document.getElementById('niivue').hidden")
        assert tab.complaints == []
