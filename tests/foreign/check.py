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
from jwcrypto.jws import InvalidJWSSignature
from sd_jwt.verifier import SDJWTVerifier

FOLDER = pathlib.Path(__file__).parent
PLAIN = {"iss", "jti", "ver", "iat", "exp", "prev", "schema", "_sd_alg", "cnf"}


def seen(token, key):
    """The claims that the other library shows, or None when it accepts nothing."""
    try:
        verifier = SDJWTVerifier(token, lambda issuer, header: key, serialization_format="compact")
    except (InvalidJWSSignature, ValueError):
        return None
    return {name: value for name, value in verifier.get_verified_payload().items() if name not in PLAIN}


def main():
    raw = (FOLDER / "vectors.json").read_bytes()
    vectors = json.loads(raw)
    key = JWK.from_json(json.dumps(vectors["key"]))
    verdicts = [{"name": v["name"], "agrees": seen(v["token"], key) == v["claims"]} for v in vectors["vectors"]]
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
