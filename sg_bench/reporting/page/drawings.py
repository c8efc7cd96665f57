"""Figures of a report as inline SVG: without styles, which the page's policy refuses, and with ids of their own."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from sg_bench.reporting.figures.layout import CAPTION
from sg_bench.reporting.figures.style import LEADING, SMALL

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
NOT_DRAWN = {f"{SVG}metadata", f"{SVG}style", f"{SVG}title"}
BACKGROUND = {"patch_1"}
REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)")


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """Return a figure's file as an <svg> element of the page.

    Its caption is left out, as the page has it as text. Equal images within a figure are kept once.

    Args:
        text: the file, as matplotlib writes it.
        name: prefix of all ids.
        title: read by screen readers.
        description: likewise, after the title.
    """
    root = ET.fromstring(text)  # noqa: S314 - our own file
    height = _without_caption(root)
    used = {found for node in root.iter() for value in node.attrib.values() if (found := _target(value))}
    for parent in list(root.iter()):
        for node in list(parent):
            if node.tag in NOT_DRAWN or node.get("id") in BACKGROUND:
                parent.remove(node)
    _share_images(root, name)
    for node in root.iter():
        _plain(node, name, used)
    width = root.get("viewBox", "0 0 504 0").split()[2]
    root.attrib.clear()
    root.attrib |= {
        "viewBox": f"0 0 {width} {height:g}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-about",
        "stroke-linejoin": "round",
    }
    for tag, content in (("desc", description), ("title", title)):
        node = ET.Element(f"{SVG}{tag}", {"id": f"{name}-{'about' if tag == 'desc' else tag}"})
        node.text = content
        root.insert(0, node)
    for node in root.iter():
        node.tag = node.tag.removeprefix(SVG)
        node.tail = None
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _without_caption(root: ET.Element) -> float:
    """Remove the caption, and return the height of what is above it."""
    height = float(root.get("viewBox", "0 0 0 0").split()[3])
    for parent in root.iter():
        for node in list(parent):
            if node.get("id") == CAPTION:
                height = min((_top(line) for line in node.iter(f"{SVG}text")), default=height)
                parent.remove(node)
    return height


def _top(line: ET.Element) -> float:
    """Return the height at which a line of the caption begins; one of several lines is moved to its place."""
    moved = re.match(r"translate\(\S+ (\S+)\)", line.get("transform", ""))
    return float(moved[1] if moved else line.get("y", 0)) - LEADING * SMALL


def _share_images(root: ET.Element, name: str) -> None:
    """Replace each image whose content was drawn before, in the same size, by a reference to that."""
    seen: dict[tuple[str, ...], tuple[str, ET.Element]] = {}
    for node in list(root.iter(f"{SVG}image")):
        content = "".join(node.get(f"{XLINK}href", "").split())
        node.set(f"{XLINK}href", content)
        key = (content, *(node.get(each, "") for each in ("width", "height", "transform")))
        if key not in seen:
            seen[key] = (f"{name}-image-{len(seen)}", node)
            continue
        identity, first = seen[key]
        first.set("id", identity)
        flipped = -1 if "scale(1 -1)" in node.get("transform", "") else 1
        across, down = (float(node.get(axis, 0)) - float(first.get(axis, 0)) for axis in ("x", "y"))
        node.tag = f"{SVG}use"
        node.attrib.clear()
        node.attrib |= {f"{XLINK}href": f"#{identity}", "transform": f"translate({across:g} {flipped * down:g})"}


def _plain(node: ET.Element, name: str, used: set[str]) -> None:
    """Turn a node's style into attributes, and make its ids and references those of the page."""
    identity = node.attrib.pop("id", "")
    if identity in used:
        node.set("id", f"{name}-{identity}")
    elif identity.startswith(f"{name}-image-"):
        node.set("id", identity)
    for part in node.attrib.pop("style", "").split(";"):
        key, _, value = (text.strip() for text in part.partition(":"))
        if key and key not in ("font-family", "font-style", "image-rendering"):
            node.set(key, value.removesuffix("px") if key == "font-size" else value)
    for key, value in list(node.attrib.items()):
        if _target(value) in used:
            value = value.replace("#", f"#{name}-", 1)
        if key == "transform" and value.startswith("rotate(-0 "):
            del node.attrib[key]
        elif key == "d":
            node.set(key, " ".join(value.split()))
        elif key.startswith(XLINK):
            del node.attrib[key]
            node.set("href", value)
        else:
            node.set(key, value)


def _target(value: str) -> str:
    """Return the id that an attribute refers to, "" for none."""
    found = REFERENCE.match(value)
    return (found[1] or found[2]) if found else ""
