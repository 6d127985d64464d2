import { assertEquals, assertMatch } from "../../tests/assert.ts";
import { browserRefusal } from "./browsers.ts";

const rules = {
  hosts: ["kurma", "box.example", "192.0.2.7", "[2001:db8::7]"],
  origins: ["https://dash.example.com"],
};

function refusal(header: Record<string, string>, method = "POST"): string | undefined {
  return browserRefusal({ method, header: new Headers({ host: "kurma", ...header }) }, rules);
}

Deno.test("programs are let through", () => {
  const table: Record<string, string>[] = [
    {},
    { "content-type": "application/json" },
    { "content-type": "application/grpc", te: "trailers", "user-agent": "grpc-go/1.6" },
    { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" },
    { host: "box.example:12312" },
    { host: "BOX.example." },
    { host: "192.0.2.7:12312" },
    { host: "[2001:db8::7]:12312" },
    { origin: "https://dash.example.com", "sec-fetch-site": "cross-site" },
  ];
  for (const header of table) assertEquals(refusal(header), undefined, JSON.stringify(header));
});

Deno.test("requests of web pages are not", () => {
  const table: [Record<string, string>, RegExp, method?: string][] = [
    [{ host: "evil.example" }, /^This is not the host "evil\.example"$/],
    [{ host: "kurma.evil.example:12312" }, /^This is not the host/],
    [{ host: "kurma, evil.example" }, /^This is not the host/],
    [{ host: "kurma@evil.example" }, /^This is not the host/],
    [{ host: "127.0.0.1:12312" }, /^This is not the host/],
    [{ host: "" }, /^This is not the host/],
    [{ origin: "https://evil.example" }, /^The web page "https:\/\/evil\.example" may not call$/],
    [{ origin: "null" }, /^The web page "null"/],
    [{ origin: "http://dash.example.com" }, /may not call/],
    [{ origin: "https://dash.example.com.evil.example" }, /may not call/],
    [{ "sec-fetch-site": "same-origin" }, /^Web pages may not call$/, "GET"],
    [{ "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" }, /^Web pages may not call$/, "GET"],
    [{ "content-type": "text/plain" }, /^Forms and plain text/],
    [{ "content-type": "text/plain;charset=UTF-8" }, /^Forms and plain text/],
    [{ "content-type": "application/x-www-form-urlencoded" }, /^Forms and plain text/],
    [{ "content-type": "multipart/form-data; boundary=x" }, /^Forms and plain text/],
    [{ origin: "https://dash.example.com" }, /may not ask for permissions/, "OPTIONS"],
    [{ "access-control-request-method": "POST" }, /may not ask for permissions/],
    [{ connection: "upgrade", upgrade: "websocket" }, /^No other protocol/, "GET"],
    [{ "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==" }, /^No other protocol/, "GET"],
    [{ "content-type": "application/grpc-web+proto", origin: "https://evil.example" }, /may not/],
  ];
  for (const [header, message, method] of table) {
    assertMatch(refusal(header, method) ?? "let through", message, JSON.stringify(header));
  }
  const nameless = browserRefusal({ method: "POST", header: new Headers() }, rules);
  assertEquals(nameless, "It does not say which host it is for");
});
