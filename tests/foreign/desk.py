"""Creates an alert and finds it, with stock gRPC for Python and nothing of Entente but its .proto files.

    pip install grpcio grpcio-tools
    python3 desk.py PROTO_DIR HOST:PORT ROOTS CERTIFICATE KEY DRAFT PASSPORT

Prints the id of the new alert and the ids of the hits as JSON.
"""

import json
import pathlib
import sys

import grpc


def main(folder, endpoint, roots, certificate, key, draft, passport):
    sys.path.insert(0, folder)
    messages, services = grpc.protos_and_services("entente/desk.proto")
    read = lambda path: pathlib.Path(path).read_bytes()
    credentials = grpc.ssl_channel_credentials(read(roots), read(key), read(certificate))
    with grpc.secure_channel(endpoint, credentials) as channel:
        desk = services.DeskStub(channel)
        created = desk.CreateAlert(
            messages.CreateAlertRequest(draft=pathlib.Path(draft).read_text()), timeout=20
        )
        answers = desk.Search(
            messages.SearchRequest(
                case_ref="DK-2026-1",
                offence="labour",
                subject_category="missing",
                aim="identify",
                identifiers=[messages.Identifier(type="passport", country="DK", number=passport)],
            ),
            timeout=20,
        )
        hits = [answer.hit.id for answer in answers if answer.HasField("hit")]
    print(json.dumps({"created": created.id, "hits": hits}))


main(*sys.argv[1:])
