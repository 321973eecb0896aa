// Reads objects of Prometheus' operator as JSON from standard input, and prints what their schemas say of them.
import { readFileSync } from "node:fs";

const types = new URL(
  "../../target/node/node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/",
  import.meta.url,
);

const wrong = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const { kind } = object;
  const type = (await import(new URL(`${kind}.js`, types)))[kind];
  try {
    new type(object).validate();
  } catch (error) {
    wrong.push(`${kind} ${object.metadata.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(wrong));
