"""Settings: the paper's values, both ways through a mapping, and what is refused."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from nlft.core import SaliencySettings
from nlft.errors import ConfigError


def test_the_papers_values():
    s = SaliencySettings.paper()
    assert (s.p0_correct, s.p0_incorrect, s.r0, s.c1, s.c2, s.c3) == (0.95, 0.01, 1.5, 5, 0.3, 0.6)
    assert s == SaliencySettings()
    with pytest.raises(ValidationError, match="frozen"):
        s.r0 = 2.0


def test_the_authors_threshold_ignores_r0():
    assert SaliencySettings.authors().replace(r0=3.0).least_ratio == 1.5
    assert SaliencySettings.paper().replace(r0=3.0).least_ratio == 3.0


@pytest.mark.parametrize("settings", [SaliencySettings.paper(), SaliencySettings(ones=("error",), c1=2)])
def test_a_mapping_leads_back(settings):
    assert SaliencySettings.from_mapping(json.loads(json.dumps(settings.to_mapping()))) == settings


def test_a_preset_is_what_the_rest_changes():
    s = SaliencySettings.from_mapping({"preset": "authors", "factor": 1})
    assert s == SaliencySettings.authors().replace(factor=1.0)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"p0_corect": 0.9}, 'unknown saliency setting "p0_corect".*did you mean "p0_correct"'),
        ({"preset": "author"}, 'did you mean "authors"'),
        ({"preset": ["paper"]}, "there is no preset"),
        ({"p0_correct": 1.0}, '"p0_correct" cannot be 1.0'),
        ({"p0_correct": "high"}, "\"p0_correct\" cannot be 'high'"),
        ({"r0": float("nan")}, '"r0" cannot be nan'),
        ({"r0": True}, '"r0" cannot be True'),
        ({"r0": 0}, '"r0" cannot be 0'),
        ({"c2": -1}, '"c2" cannot be -1'),
        ({"c2": None}, '"c2" cannot be None'),
        ({"ratio_threshold": 0}, '"ratio_threshold" cannot be'),
        ({"cluster": "distnce"}, 'did you mean "distance"'),
        ({"cluster": ["distance"]}, '"cluster" cannot be'),
        ({"use_judge": "no"}, "should be a valid boolean"),
        ({"ones": "salient"}, '"ones" cannot be'),
        ({"ones": ["wrong"]}, '"ones" cannot be'),
        ({"factor": 0}, '"factor" cannot be'),
        ({"zero_probability": 1}, '"zero_probability" cannot be'),
        ({"unlikelihood_floor": 0}, '"unlikelihood_floor" cannot be'),
        ({"filter_threshold": -0.1}, '"filter_threshold" cannot be'),
        ({3: 4}, 'unknown saliency setting "3"'),
    ],
)
def test_refused(mapping, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        SaliencySettings.from_mapping(mapping)


def test_every_field_is_described():
    assert set(SaliencySettings.describe()) == SaliencySettings.model_fields.keys()
    assert all(len(text) > 20 for text in SaliencySettings.describe().values())


def test_settings_load_no_torch():
    code = "import nlft.core, sys; nlft.core.SaliencySettings.authors(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_constructor_names_the_field():
    with pytest.raises(ValidationError, match=r"(?s)p0_correct.*less than 1"):
        SaliencySettings(p0_correct=1.0)
    with pytest.raises(ConfigError, match='unknown saliency setting "c4"'):
        SaliencySettings.paper().replace(c4=1.0)
