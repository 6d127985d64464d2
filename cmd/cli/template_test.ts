import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { filledIn } from "./template.ts";

const value = { id: "12", name: "web", exit: { code: 0 }, settings: { labels: { app: "x" } } };

for (
  const [template, text] of [
    ["{{.name}}", "web"],
    ["{{.Name}}\\t{{ .ID }}", "web\t12"],
    ["{{.exit.code}}", "0"],
    ["{{.settings.labels.app}}", "x"],
    ["{{.settings.labels}}", '{"app":"x"}'],
    ["{{json .exit}}", '{"code":0}'],
    ["{{json .nothing}}", "null"],
    ["{{.nothing.at.all}}", ""],
    ["{{.constructor}}", ""],
    ["no field", "no field"],
  ]
) {
  Deno.test(`filledIn() takes ${template}`, () => assertEquals(filledIn(template, value), text));
}

for (const template of ["{{name}}", "{{range .}}", "{{.a | upper}}", "{{}}"]) {
  Deno.test(`filledIn() refuses ${template}`, async () => {
    const error = await rejection(() => filledIn(template, value));
    assertMatch(error.message, /for --format$/);
  });
}
