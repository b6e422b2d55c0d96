// Creates an alert and finds it, with stock gRPC for Node.js and nothing of Entente but its .proto files.
//
//     npm install @grpc/grpc-js @grpc/proto-loader
//     node desk.mjs PROTO_DIR HOST:PORT ROOTS CERTIFICATE KEY DRAFT PASSPORT
//
// Prints the id of the new alert and the ids of the hits as JSON. NODE_MODULES names the folder of the packages.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";

const require = createRequire(`${process.env.NODE_MODULES ?? process.cwd()}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [folder, endpoint, roots, certificate, key, draft, passport] = process.argv.slice(2);
const definition = loader.loadSync("entente/desk.proto", { includeDirs: [folder], keepCase: true });
const { Desk } = grpc.loadPackageDefinition(definition).entente.desk.v1;
const credentials = grpc.credentials.createSsl(
  readFileSync(roots),
  readFileSync(key),
  readFileSync(certificate),
);
const desk = new Desk(endpoint, credentials);

const create = promisify(desk.createAlert.bind(desk));
const created = await create({ draft: readFileSync(draft, "utf8") });
const hits = [];
const answers = desk.search({
  case_ref: "DK-2026-1",
  offence: "labour",
  subject_category: "missing",
  aim: "identify",
  identifiers: [{ type: "passport", country: "DK", number: passport }],
});
for await (const answer of answers) {
  if (answer.hit) hits.push(answer.hit.id);
}
desk.close();
console.log(JSON.stringify({ created: created.id, hits }));
