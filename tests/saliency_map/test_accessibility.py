"""axe finds nothing serious, everything is reached by keyboard, and nothing is lost at 400 pixels."""

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def rows(make_scored):
    return [make_scored(seed, correct=seed % 2 == 0, n=40) for seed in range(6)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_nothing_serious(scheme, width, rows, open_page, exported):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(exported(rows), color_scheme=scheme, width=width).page
    page.select_option("#preset", "authors")
    page.select_option("#compare", "paper")
    page.locator("#examples button").nth(1).click()
    page.check("#show-cut")
    page.locator("summary").click()
    found = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], [node["html"][:120] + " " + node["failureSummary"] for node in violation["nodes"][:3]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_every_control_is_reached_by_tab(rows, open_page, exported):
    page = open_page(exported(rows)).page
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.role")
        )
    wanted = {
        "theme", "verdict", "order", "text", "least", "most", "previous", "next", "option", "log-axis", "preset",
        "p0_correct", "p0_correct-slider", "p0_incorrect", "r0", "c1", "c2", "c3", "cluster_threshold",
        "filter_threshold", "cluster", "filter", "compare", "pin", "show-cut", "export-yaml", "export-svg",
        "export-png", "question", "reference",
    }  # fmt: skip
    assert wanted <= reached


@pytest.mark.parametrize("width", [400, 700])  # 700 is a window of 1400 pixels at 200 % zoom
def test_nothing_runs_out_of_a_narrow_window(width, rows, open_page, exported):
    page = open_page(exported(rows), width=width, height=800).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#tokens .token").first.click()
    box = page.locator("#inspector").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_roles_are_told_apart_without_colour(rows, open_page, exported):
    """Each role that is trained on has an underline of its own."""
    page = open_page(exported(rows)).page
    styles = [
        page.locator(f".legend .{role}").evaluate(
            "e => getComputedStyle(e).textDecorationLine + getComputedStyle(e).textDecorationStyle"
        )
        for role in ("salient", "sub_salient", "error", "marked", "near_error", "irrelevant")
    ]
    assert len(set(styles)) == 6
