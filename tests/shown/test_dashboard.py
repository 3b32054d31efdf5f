"""The dashboard in a real browser: what stands in it, its colours, and its end.

``PHALANX_TEST_PICTURES=FOLDER`` keeps pictures of the page.
"""

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

import phalanx.ipyparallel as ipp
from browser import Browser, find
from home import Home
from phalanx.ipyparallel.cluster.commands import binary

PROGRAM = find()
EVIL = "<img src=x onerror=\"document.title='hit'\">"
CONTRAST = """
(() => {
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((c) => {
      const one = c / 255;
      return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let worst = 21;
  for (const node of document.querySelectorAll("h1, h2, p, dt, dd, th, td, span")) {
    if (!node.textContent.trim()) continue;
    const pair = [luminance(getComputedStyle(node).color), luminance(behind(node))];
    const [dark, light] = pair.sort((a, b) => a - b);
    worst = Math.min(worst, (light + 0.05) / (dark + 0.05));
  }
  return worst;
})()
"""
UNNAMED = """
[...document.querySelectorAll("svg, table, [role=region]")].filter((node) =>
  !node.getAttribute("aria-label") && !node.getAttribute("aria-labelledby")
  && !node.closest("[aria-labelledby]")).length
"""


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


@unittest.skipUnless(PROGRAM, "no browser is installed (chromium)")
class Page(Home):
    def setUp(self) -> None:
        super().setUp()
        self.cluster = ipp.Cluster(n=3, log_level=40)
        self.addCleanup(self.cluster.stop_cluster_sync)
        self.rc = self.cluster.start_and_connect_sync()
        self.process = subprocess.Popen(
            [
                *(binary(), "cluster", "dashboard", "--quiet"),
                f"--cluster-id={self.cluster.cluster_id}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.kill)
        assert self.process.stdout is not None and PROGRAM is not None
        self.address = self.process.stdout.readline().strip()
        self.browser = Browser(PROGRAM)
        self.addCleanup(self.browser.close)

    def keep(self, name: str) -> None:
        if folder := os.environ.get("PHALANX_TEST_PICTURES"):
            Path(folder, name).write_bytes(self.browser.picture())

    def test_the_page(self) -> None:
        browser, rc = self.browser, self.rc
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=1100,
            height=960,
            deviceScaleFactor=1,
            mobile=False,
        )
        browser.call("Page.navigate", url=self.address)
        browser.until("document.querySelectorAll('#engines tr').length === 3")
        self.assertEqual(browser.eval("document.getElementById('state').className"), "")

        # What happens is shown by itself.
        view = rc.load_balanced_view()
        view.label = EVIL
        with self.assertRaises(ipp.RemoteError):
            view.apply_sync(int, EVIL)
        view.label = "heat"
        rc[0].apply_async(busy, 60)
        view.map_async(busy, [0.3] * 40)
        browser.until("document.body.innerText.includes('ValueError')")
        browser.until("document.querySelectorAll('#engines .runs').length === 3")
        browser.until("curves[0].points.length > 4 && curves[0].points.at(-1)[1] > 0")
        self.assertNotEqual(browser.eval("document.title"), "hit")
        self.assertEqual(browser.eval("document.querySelectorAll('img').length"), 0)
        self.assertIn(self.cluster.cluster_id, browser.eval("document.title"))

        # It can be read, in both colours and by those who listen to it.
        self.assertEqual(browser.eval(UNNAMED), 0)
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.call("Emulation.setEmulatedMedia", features=[feature])
            self.assertGreater(browser.eval(CONTRAST), 4.5, scheme)
            self.keep(f"dashboard-{scheme}.png")

        # Nothing came from elsewhere, and nothing was refused or went wrong.
        sent = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        self.assertTrue(all(url.startswith(self.address) for url in sent), sent)
        wrong = [
            event["params"]
            for event in browser.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
            and "favicon" not in str(event["params"])
        ]
        self.assertEqual(wrong, [])

        # Its end is told.
        self.cluster.stop_cluster_sync()
        browser.until("document.getElementById('state').className === 'bad'")
        self.assertIn(
            "The cluster has ended",
            browser.eval("document.getElementById('state').textContent"),
        )


if __name__ == "__main__":
    sys.exit(unittest.main())
