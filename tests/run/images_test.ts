/**
 * Images of every kind, made by other people's tools, and what an image decides about
 * the command.
 *
 * @module
 */

import { assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { type Images, images } from "../images_fixture.ts";

const kinds = {
  "an ACI by actool": "aci",
  "an OCI layout by umoci": "oci",
  "an OCI layout by umoci in a tar": "ociTar",
  "a docker archive by skopeo": "docker",
} as const satisfies Record<string, keyof Images>;

for (const [name, kind] of Object.entries(kinds)) {
  test(`kurma run runs ${name}`, async ({ kurma }) => {
    const image = (await images())[kind];
    const script = "cat /etc/marker; ls /etc; echo $FROM_IMAGE; pwd";
    const ran = await kurma(["run", image, "/bin/sh", "-c", script]);
    assertEquals(ran, {
      status: 0,
      // The second layer removed etc/removed.
      stdout: "from-the-image\ngroup\nmarker\npasswd\nyes\n/root\n",
      stderr: "",
    });
  });

  test(`kurma run lets ${name} decide the command`, async ({ kurma }) => {
    const ran = await kurma(["run", (await images())[kind]]);
    assertEquals(ran, { status: 0, stdout: "the image decides\n", stderr: "" });
  });
}

test("what a container writes is gone with it, and the image stays as it was", async ({ kurma }) => {
  const { oci } = await images();
  const write = "echo changed >/etc/marker; rm -r /etc/passwd; touch /new; cat /etc/marker";
  assertEquals((await kurma(["run", oci, "/bin/sh", "-c", write])).stdout, "changed\n");
  const look = await kurma([
    "run",
    oci,
    "/bin/sh",
    "-c",
    "cat /etc/marker; ls -d /etc/passwd /new",
  ]);
  assertEquals(look.stdout, "from-the-image\n/etc/passwd\n");
});

test("kurma run says that only a daemon runs an image's event handlers", async ({ dir, kurma }) => {
  const { aci } = await images();
  await mustRun([
    ...["sh", "-ec", 'mkdir image; tar -xf "$0" -C image; cd image; sed -i "$1" manifest'],
    ...[aci, 's|"app":{|&"eventHandlers":[{"name":"pre-start","exec":["/bin/false"]}],|'],
  ], { cwd: dir });
  const changed = `${dir}/with-handlers.aci`;
  await mustRun(["tar", "-cf", changed, "-C", `${dir}/image`, "manifest", "rootfs"]);
  const { status, stdout, stderr } = await kurma(["run", changed]);
  assertEquals([status, stdout], [0, "the image decides\n"]);
  assertEquals(
    stderr,
    `kurma: Cannot run the event handlers of "${changed}" without a daemon. ` +
      "Use kurma create --start for them\n",
  );
});

const settings: Record<string, { flags: string[]; script: string; says: string }> = {
  "--env adds and replaces": {
    flags: ["--env", "A=1", "--env", "FROM_IMAGE=no", "--env", "B=x=y z"],
    script: 'echo "$A $FROM_IMAGE $B"',
    says: "1 no x=y z\n",
  },
  "--workdir is where the command starts": {
    flags: ["--workdir", "/etc"],
    script: "pwd",
    says: "/etc\n",
  },
  "--user by name takes the image's ids, with the groups": {
    flags: ["--user", "app"],
    script: "id",
    says: "uid=1000(app) gid=1000(app) groups=1000(app),2000(log)\n",
  },
  "--user by numbers needs no entry": {
    flags: ["--user", "1234:5678"],
    script: "id -u; id -g",
    says: "1234\n5678\n",
  },
  "--user by name and group": {
    flags: ["--user", "app:log"],
    script: "id -u; id -g; touch /home/app/mine && echo mine",
    says: "1000\n2000\nmine\n",
  },
};

for (const [name, { flags, script, says }] of Object.entries(settings)) {
  test(`kurma run ${name}`, async ({ kurma }) => {
    const { oci } = await images();
    const ran = await kurma(["run", ...flags, oci, "/bin/sh", "-c", script]);
    assertEquals(ran, { status: 0, stdout: says, stderr: "" });
  });
}
