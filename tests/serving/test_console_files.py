"""The console's files, without a browser: how they are served, and what they may not hold."""

import asyncio
import re
import tomllib
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from serving.console import router
from serving.door import Door
from serving.gate import Gate
from serving.keys import Keys

FOLDER = Path("serving/console")
SOURCES = {each.name: each.read_text() for each in FOLDER.iterdir() if each.is_file() and each.suffix != ".py"}
SCRIPTS = {name: text for name, text in SOURCES.items() if name.endswith(".js")}
PAGE = SOURCES["index.html"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def get(path: str, **headers: str) -> httpx.Response:
    """What an ingress that wants keys answers whoever has none."""

    class Guarded(Gate):
        door = Door(Keys(None, "0123456789abcdef"))

    app = FastAPI()
    app.add_middleware(Guarded)
    app.include_router(router)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["", *SOURCES])
def test_files_come_without_a_key_with_a_strict_policy_and_are_asked_about_each_time(name: str) -> None:
    answer = get(f"/console/{name}")

    assert answer.status_code == 200
    assert answer.text == SOURCES[name or "index.html"]
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = get(f"/console/{name}", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == POLICY


def test_the_page_is_found_below_its_name_and_nothing_else_is() -> None:
    answer = get("/console")
    assert (answer.status_code, answer.headers["location"]) == (308, "console/")
    for path in ("__init__.py", "nothing.js", "..%2Fdoor.py", "a/app.js", "..%2F..%2Fv1/status"):
        assert get(f"/console/{path}").status_code == 404
    assert get("/v1/status").status_code == 401


def test_an_installed_package_has_every_file() -> None:
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["setuptools"]

    assert "serving.console" in settings["packages"]
    packed = {each.name for pattern in settings["package-data"]["serving.console"] for each in FOLDER.glob(pattern)}
    assert packed == set(SOURCES)
    assert "serving.documentation" in settings["packages"]
    assert settings["package-data"]["serving.documentation"] == ["*.html", "*.js"]


def test_no_file_makes_markup_of_text_or_runs_text_or_names_another_place() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser|srcdoc|javascript:"
    for name, text in SOURCES.items():
        assert not re.search(forbidden, text), name
        assert set(re.findall(r"\bhttps?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, name
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=\"app.js\")", PAGE)
    assert not re.search(r"@import|url\(", SOURCES["console.css"])
    for name, text in SCRIPTS.items():
        imported = re.findall(r"from \"\./([\w.]+)\"", text)
        assert len(imported) == len(re.findall(r"^(?:import|\} from) ", text, re.MULTILINE)), name
        assert set(imported) <= set(SCRIPTS), name
        assert len(text.splitlines()) < 300, name


def test_both_languages_say_the_same_texts_and_every_text_is_used() -> None:
    entry = re.compile(r"^  (\w+): \"(.*)\",$", re.MULTILINE)
    english, chinese = (dict(entry.findall(SCRIPTS[name])) for name in ("en.js", "zh.js"))

    assert list(english) == list(chinese)
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[name])), name
        assert text.strip(), name
    code = "".join(text for name, text in SCRIPTS.items() if name not in ("en.js", "zh.js"))
    asked = set(re.findall(r"\bt\(\"(\w+)\"", code)) | set(
        re.findall(r"data-(?:text|label|placeholder)=\"(\w+)\"", PAGE)
    )
    assert asked <= set(english)
    assert set(english) - asked <= {"intervalsCaption", "intervalsCaptionTruth"}  # t(… ? … : …)


def test_every_element_that_a_script_looks_for_is_in_the_page_once() -> None:
    ids = re.findall(r"\sid=\"([\w-]+)\"", PAGE)

    assert len(ids) == len(set(ids))
    asked = {found for text in SCRIPTS.values() for found in re.findall(r"byId\(\"([\w-]+)\"\)", text)}
    assert asked <= set(ids)
    assert set(re.findall(r"(?:for|list|aria-describedby|aria-labelledby)=\"([\w-]+)\"", PAGE)) <= set(ids)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(theme: int) -> None:
    pairs = re.findall(r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\)", SOURCES["console.css"])
    colours = {name: both[theme] for name, *both in pairs}

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "soft", "blue", "wrong", "warm"):
        assert contrast(text, "paper") >= 4.5
        assert contrast(text, "panel") >= 4.5
    assert contrast("on-blue", "blue") >= 4.5
    for mark in ("edge", "green"):
        assert contrast(mark, "paper") >= 3
