/**
 * The commands about daemons elsewhere; see {@link ./cases.ts}. What they do over a network is
 * tested in tests/remote.
 *
 * @module
 */

import { assertEquals, assertMatch } from "../assert.ts";
import { mustRun } from "../harness.ts";
import type { Cases } from "./cases.ts";

const noContext = /There is no context "none"/;
const noPapers = /There is no "(ca|server)\.\w+" in ".*\/none"/;

export const remoteCases: Cases = {
  "api init": {
    main: (shop) => shop.is("api init --name host.test --dir $DIR/api", /\/admin\.json$/),
    mistake: ["api init --name host.test --dir $DIR/api", 4, /There is a CA in /],
    json: ["api init -n h --dir $DIR/api2 --client me -o json", ".role", "admin"],
  },
  "api serve": {
    async main(shop) {
      const server = shop.start(shop.args("api serve --listen 127.0.0.1:0 --dir $DIR/api"));
      // What it says goes to its log; it stops as it should if it serves.
      await mustRun([
        ...["sh", "-c", 'until ss -Hltnp | grep -q "pid=$0,"; do sleep 0.05; done'],
        String(server.pid),
      ]);
      server.signal("SIGTERM");
      const { status, stderr } = await server.output;
      assertMatch(`${status} ${stderr}`, /^0 .*kurma-api serves[^]*kurma-api has stopped/);
    },
    mistake: ["api serve --dir $DIR/none", 3, noPapers],
  },
  "api client": {
    main: (shop) => shop.is("api client alice --role operator --dir $DIR/api", /\/alice\.json$/),
    mistake: ["api client alice --role king --dir $DIR/api", 2, /Cannot use "king" for --role/],
    json: ["api client bob --dir $DIR/api -o json", ".role", "viewer"],
  },
  "api list": {
    main: (shop) => shop.is("api ls --dir $DIR/api", /^NAME +ROLE[^]*\nalice +operator +good /),
    mistake: ["api list --dir $DIR/none", 3, /There are no certificates in/],
    json: ["api list --dir $DIR/api -o json", 'map(.name) | join(" ")', "admin alice bob"],
  },
  "api revoke": {
    async main(shop) {
      await shop.is("api revoke alice --dir $DIR/api", /^alice [0-9a-f]{64}$/);
      await shop.is("api list --dir $DIR/api", /\nalice +operator +revoked /);
    },
    mistake: ["api revoke none --dir $DIR/api", 3, /There is no certificate "none"/],
    json: ["api revoke bob --dir $DIR/api -o json", ".[].name", "bob"],
  },
  "api renew": {
    main: (shop) => shop.is("api renew --dir $DIR/api", /^A certificate for host\.test, until 20/),
    mistake: ["api renew --dir $DIR/none", 3, noPapers],
    json: ["api renew -n other.test --dir $DIR/api -o json", ".names[]", "other.test"],
  },
  "api token create": {
    main: (shop) => shop.is("api token create ci --dir $DIR/api -f -", /"token": "kurma_/),
    mistake: ["api token create a/b --dir $DIR/api", 2, /Cannot call a client "a\/b"/],
    json: ["api token create two --dir $DIR/api -o json", ".kind", "token"],
  },
  "api token list": {
    main: (shop) => shop.is("api token ls --dir $DIR/api", /\nci +viewer +good /),
    mistake: ["api token list --all", 2, /Unknown flag --all/],
    json: ["api token list --dir $DIR/api -o json", ".[0].name", "ci"],
  },
  "api token revoke": {
    main: (shop) => shop.is("api token revoke ci --dir $DIR/api", /^ci /),
    mistake: ["api token revoke none --dir $DIR/api", 3, /There is no token "none"/],
    json: ["api token revoke two --dir $DIR/api -o json", ".[].name", "two"],
  },
  "api policy": {
    main: (shop) => shop.is("api policy example", /^#everyone:/m),
    mistake: ["api policy check --dir $DIR/api", 3, /Write one: kurma api policy example/],
  },
  "dial-stdio": {
    async main(shop) {
      const dialled = shop.start(["dial-stdio"], { stdin: "open" });
      // Its input stays open: who closes it goes away, and gives up the answer.
      await dialled.write("GET / HTTP/1.1\r\nhost: kurma\r\nconnection: close\r\n\r\n");
      const { status, stdout } = await dialled.output;
      assertMatch(stdout, /^HTTP\/1\.1 \d{3} /);
      assertEquals(status, 0);
    },
    mistake: ["dial-stdio -H 192.0.2.1", 2, /Cannot pass on to another machine/],
  },

  "context create": {
    main: (shop) => shop.is("context create lab ssh://root@lab.test", "lab"),
    mistake: ["context create lab ssh://root@lab.test", 4, /There is a context "lab" already/],
    json: ["context create far tcp://far.test -o json", ".credential", "none"],
  },
  "context import": {
    main: (shop) => shop.is("context import $DIR/admin.json --name host", "host"),
    mistake: ["context import $DIR/none.json", 3, /Cannot read ".*none\.json"/],
    json: ["context import $DIR/admin.json -f --name host -o json", ".certificate.role", "admin"],
  },
  "context list": {
    main: (shop) => shop.is("context ls", /^CURRENT +NAME[^]*\n- +host +tcp:\/\/host\.test:12312 /),
    mistake: ["context list lab", 2, /context list has no use for "lab"/],
    json: ["context list -o json", 'map(.name) | join(" ")', "default far host lab"],
  },
  "context use": {
    async main(shop) {
      await shop.is("context use lab", "lab");
      await shop.is("context use default", "default");
    },
    mistake: ["context use none", 3, noContext],
    json: ["context use default -o json", ".current", "true"],
  },
  "context show": {
    main: (shop) => shop.is("context inspect host", /^Host: +tcp:\/\/host\.test:12312$/m),
    mistake: ["context show none", 3, noContext],
    json: ["context show host -o json", '.certificate | keys | join(" ")', /^expires finger/],
  },
  "context rm": {
    main: (shop) => shop.is("context rm lab", "lab"),
    mistake: ["context rm none", 3, noContext],
    json: ["context rm far -o json", ".names[]", "far"],
  },
};
