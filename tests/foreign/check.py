"""Verifies our alerts with another implementation of SD-JWT, full and minimised.

    pip install sd-jwt==0.10.4 jwcrypto
    python3 check.py

Reads vectors.json, writes result.json: the versions used, the digest of the vectors, and a verdict for each.
"""

import hashlib
import json
import pathlib
from importlib.metadata import version

from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

FOLDER = pathlib.Path(__file__).parent
PLAIN = {"iss", "jti", "ver", "iat", "exp", "prev", "schema", "_sd_alg", "cnf"}


def check(vector, key):
    """Whether the other library sees the same claims under a signature it accepts."""
    verifier = SDJWTVerifier(vector["token"], lambda issuer, header: key, serialization_format="compact")
    seen = {name: value for name, value in verifier.get_verified_payload().items() if name not in PLAIN}
    return seen == vector["claims"]


def main():
    raw = (FOLDER / "vectors.json").read_bytes()
    vectors = json.loads(raw)
    key = JWK.from_json(json.dumps(vectors["key"]))
    verdicts = [{"name": v["name"], "agrees": check(v, key)} for v in vectors["vectors"]]
    result = {
        "libraries": {name: version(name) for name in ("sd-jwt", "jwcrypto")},
        "vectors_sha256": hashlib.sha256(raw).hexdigest(),
        "verdicts": verdicts,
    }
    (FOLDER / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    assert all(verdict["agrees"] for verdict in verdicts)


if __name__ == "__main__":
    main()
