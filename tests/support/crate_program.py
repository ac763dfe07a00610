"""Runs in roc-validator's own environment (envs/rocrate): validates a packed study without the network.

Usage: python crate_program.py STUDY CACHE PROFILE ... Prints a JSON object: the problems of each profile.
"""

import io
import json
import sys
from importlib.metadata import distribution
from pathlib import Path

from requests.adapters import BaseAdapter, HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from urllib3 import HTTPResponse

# The validator loads the contexts of the crate from the network or from its cache. RO-Crate's own is in the
# package rocrate. Of Workflow Run RO-Crate's context, a packed study uses one term.
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": Path(
        distribution("rocrate").locate_file("rocrate/data/ro-crate.jsonld")
    ),
    "https://w3id.org/ro/terms/workflow-run/context": {
        "@context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
    },
}


class Contexts(BaseAdapter):
    """Answers requests for the contexts."""

    def send(self, request, **_):
        content = CONTEXTS[request.url]
        data = content.read_bytes() if isinstance(content, Path) else json.dumps(content).encode()
        kind = {"Content-Type": "application/ld+json"}
        raw = HTTPResponse(body=io.BytesIO(data), status=200, headers=kind, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self):
        pass


def main(study, cache, *profiles):
    session = CachedSession(cache_name=cache, expire_after=-1, backend="sqlite", allowable_methods=("GET",))
    session.mount("https://", Contexts())
    for url in CONTEXTS:
        session.get(url).raise_for_status()
    session.close()
    found = {}
    for profile in profiles:
        result = services.validate(
            services.ValidationSettings(
                rocrate_uri=study,
                profile_identifier=profile,
                requirement_severity="RECOMMENDED",
                offline=True,
                cache_path=cache,
            )
        )
        found[profile] = [
            (issue.severity.name, issue.check.identifier, issue.check.name, issue.message)
            for issue in result.get_issues()
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
