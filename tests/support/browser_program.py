"""Runs in Playwright's own environment (envs/browser): opens a page in Chromium and follows steps.

Usage: python browser_program.py < REQUEST. Reads and prints a JSON object; see tests/support/browser.py.
"""

import json
import sys

from playwright.sync_api import sync_playwright

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def follow(page, step):
    """One step. Returns the value of `evaluate`, and None for all others."""
    kind, *words = step
    if kind == "evaluate":
        return page.evaluate(words[0])
    if kind == "wait":  # until a JavaScript expression is true
        page.wait_for_function(words[0])
    elif kind == "click":
        page.click(words[0])
    elif kind == "fill":
        page.fill(*words)
    elif kind == "press":
        page.keyboard.press(words[0])
    elif kind == "viewport":  # width and height in CSS pixels
        page.set_viewport_size({"width": words[0], "height": words[1]})
    elif kind == "media":  # "light", "dark" or "print"
        page.emulate_media(**({"media": "print"} if words[0] == "print" else {"color_scheme": words[0]}))
    elif kind == "goto":
        page.goto(words[0])
    elif kind == "screenshot":  # of the viewport
        page.screenshot(path=words[0])
    elif kind == "whole":  # of the whole page
        page.screenshot(path=words[0], full_page=True)
    else:
        raise ValueError(f"unknown step {kind!r}")
    return None


def main():
    request = json.load(sys.stdin)
    errors, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=request["chromium"], args=OPTIONS)
        page = browser.new_page(viewport={"width": request["width"], "height": request["height"]})
        page.on("console", lambda said: said.type in ("error", "warning") and errors.append(said.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: requests.append(sent.url[:200]))
        page.route(
            "**/*", lambda route: route.abort() if route.request.url.startswith("http") else route.continue_()
        )
        page.goto(request["url"])
        values = [follow(page, step) for step in request["steps"]]
        browser.close()
    json.dump({"values": values, "errors": errors, "requests": requests}, sys.stdout)


if __name__ == "__main__":
    main()
