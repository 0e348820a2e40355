"""The console's list of features is the catalogue itself."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.parts.text import LANGUAGES, Language
from risk.features.catalogue import FEATURE_HASH, FEATURES, window_of, yields_without
from tests.unit.test_dashboard_pages import said, show


def frame(app: AppTest) -> list[dict[Hashable, Any]]:
    return app.dataframe[0].value.to_dict("records")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_feature_is_listed_as_it_is_declared(tmp_path: Path, language: Language) -> None:
    app = show(tmp_path, "features", language)

    assert not app.exception
    assert FEATURE_HASH in said(app)
    listed = [
        (row["feature"], row["meaning"], row["window"], row["without"], row["formula"])
        for row in frame(app)
    ]
    assert listed == [
        (
            one.name,
            one.meaning_zh if language == "zh" else one.meaning_en,
            window_of(one),
            yields_without(one),
            str(one.formula),
        )
        for one in FEATURES
    ]


def test_a_family_and_a_word_narrow_the_list(tmp_path: Path) -> None:
    app = show(tmp_path, "features", "en")
    app.selectbox(key="features.family").select("graph").run()
    app.text_input(key="features.search").input("Circle").run()

    names = [row["feature"] for row in frame(app)]
    assert names == ["graph_circle_of_2", "graph_circle_of_3", "graph_circle_of_4"]
