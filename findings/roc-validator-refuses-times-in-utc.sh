#!/bin/bash
# Finding: roc-validator's profile of Process Run Crate 0.5 refuses times that end in Z, and times with a negative
# offset. Both are valid ISO 8601, and the profile's own message asks for ISO 8601. Only a positive offset passes.
#
# Version: roc-validator 0.13.0, Python 3.11. A crate with one action is validated three times, with these end times:
#
#     2026-01-31T12:00:00Z       "The Action SHOULD have an endTime in ISO 8601 format"
#     2026-01-31T12:00:00-05:00  the same message
#     2026-01-31T12:00:00+00:00  no message
#
# The severity is RECOMMENDED. Exits non-zero if this changes. The package rocrate gives the context of RO-Crate 1.1,
# so nothing is downloaded but the packages.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet roc-validator==0.13.0
venv/bin/python -m pip install --quiet --no-deps rocrate==0.14.0

cat >check.py <<'END'
import io
import json
import sys
from importlib.metadata import distribution, version
from pathlib import Path

from requests.adapters import BaseAdapter, HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


class Local(BaseAdapter):
    def send(self, request, **_):
        data = Path(distribution("rocrate").locate_file("rocrate/data/ro-crate.jsonld")).read_bytes()
        kind = {"Content-Type": "application/ld+json"}
        raw = HTTPResponse(body=io.BytesIO(data), status=200, headers=kind, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self):
        pass


def messages(end):
    graph = [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
        {"@id": "./", "@type": "Dataset", "name": "A run", "description": "A run of a program.",
         "datePublished": "2026-01-31", "license": {"@id": "https://spdx.org/licenses/MIT"},
         "conformsTo": {"@id": PROFILE}, "hasPart": {"@id": "out.txt"}, "mentions": {"@id": "#run"}},
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT"},
        {"@id": "https://example.org/program", "@type": "SoftwareApplication", "name": "program",
         "url": "https://example.org/program", "softwareVersion": "1.0"},
        {"@id": "#run", "@type": "CreateAction", "name": "run", "description": "A run.", "endTime": end,
         "instrument": {"@id": "https://example.org/program"}, "result": {"@id": "out.txt"}},
        {"@id": "out.txt", "@type": "File", "name": "output", "encodingFormat": "text/plain"},
    ]
    crate = Path("crate")
    crate.mkdir(exist_ok=True)
    (crate / "out.txt").write_text("out\n")
    (crate / "ro-crate-metadata.json").write_text(json.dumps({"@context": CONTEXT, "@graph": graph}))
    settings = services.ValidationSettings(
        rocrate_uri="crate", profile_identifier="process-run-crate-0.5", requirement_severity="RECOMMENDED",
        offline=True, cache_path="cache",
    )
    return [issue.message for issue in services.validate(settings).get_issues() if "endTime" in issue.message]


session = CachedSession(cache_name="cache", backend="sqlite", expire_after=-1)
session.mount("https://", Local())
session.get(CONTEXT)
session.close()
found = {}
for end in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00-05:00", "2026-01-31T12:00:00+00:00"):
    found[end] = messages(end)
    print(f"{end}: {found[end]}")
refused = [bool(texts) for texts in found.values()]
sys.exit(f"changed in {version('roc-validator')}" if refused != [True, True, False] else 0)
END
venv/bin/python check.py
