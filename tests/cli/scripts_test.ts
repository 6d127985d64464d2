/** Provisioning scripts as people write them: `set -e`, exit statuses, and JSON through jq. */

import { assertEquals } from "../assert.ts";
import { test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Line } from "./line.ts";

/** A script, what it prints, and its exit status; they follow one another on one daemon. */
const stories: Record<string, readonly [script: string, stdout: string, status?: number]> = {
  "what is not there is created, what is there is left alone": [
    `
    ensure() {
      kurma show "$1" >/dev/null 2>&1 && { echo "$1 is there"; return; }
      status=$?
      [ $status -eq 3 ] || exit $status
      kurma create --name "$1" --label app=shop --stop-timeout 1s -v "$1:/data" "$IMAGE" \\
        sh -c 'echo up; sleep 1000' >/dev/null
      echo "$1 created"
    }
    ensure web; ensure db; ensure web
    kurma start web db
    kurma start web
    kurma list -q --filter label=app=shop | wc -l
    kurma list --filter label=app=shop --output json | jq -r '.[] | .name + " " + .state'
    `,
    "web created\ndb created\nweb is there\nweb\ndb\nweb\n2\n" +
    "db CONTAINER_STATE_RUNNING\nweb CONTAINER_STATE_RUNNING\n",
  ],
  "a limit is changed where it differs, once": [
    `
    want=$((96 * 1024 * 1024))
    limit() { kurma show web | jq -r '.settings.resources.memoryBytes // "none"'; }
    for try in 1 2; do
      before=$(limit)
      [ "$before" = $want ] && { echo as wanted; continue; }
      kurma update --memory $want web
    done
    limit
    `,
    "web\nas wanted\n100663296\n",
  ],
  "a container is waited for until it is well": [
    `
    kurma create --start --name slow --health-cmd 'test -e /ready' --health-interval 100ms \\
      --health-retries 1000 --stop-timeout 1s "$IMAGE" sh -c 'sleep 0.5; touch /ready; sleep 1000' >/dev/null
    kurma wait --condition healthy slow
    kurma show slow | jq -r .health
    kurma rm -f slow
    `,
    "-\nHEALTH_HEALTHY\nslow\n",
  ],
  "a job's status and its output are the script's to judge": [
    `
    for code in 0 3; do
      kurma create --start --name job "$IMAGE" sh -c "echo out; echo bad >&2; exit $code" >/dev/null
      status=$(kurma wait job)
      [ "$status" -eq 0 ] && echo well || { echo "failed with $status"; kurma logs job 2>&1 >/dev/null; }
      kurma rm job >/dev/null
    done
    `,
    "well\nfailed with 3\nbad\n",
  ],
  "set -e ends a script at the first failure, with its status": [
    `
    kurma stop web
    kurma start none 2>error
    echo never
    `,
    "web\n",
    3,
  ],
  "an error is one line, and on standard error": [
    `
    wc -l <error
    grep -o 'Cannot find container "none"' error
    kurma rm web none db 2>&1 >removed || echo status $?
    sort removed
    `,
    '1\nCannot find container "none"\n' +
    'kurma: Cannot find container "none": there is none. List what there is; a name, an id or its ' +
    'first four digits will do\nkurma: Cannot remove "db": it runs. Stop it first, or force its removal\n' +
    "status 3\nweb\n",
  ],
  "removal by force may be repeated": [
    `
    for try in 1 2; do
      kurma rm --force web db
      kurma pod rm --force shop
      kurma volume rm --force web db
    done
    kurma list --all --quiet | wc -l
    kurma volume list --output json | jq length
    `,
    "db\nweb\ndb\n0\n0\n",
  ],
  "a pod is made from JSON that jq wrote, and taken down again": [
    `
    jq -n --arg image "$IMAGE" '{
      name: "shop", labels: {app: "shop"}, start: true,
      apps: ["web", "db"] | map({name: ., image: $image,
        settings: {command: ["sleep", "1000"], stopTimeout: "0s"}})
    }' | kurma pod create - >id
    [ "$(kurma pod list -q)" = "$(cat id)" ]
    kurma pod show shop | jq -r '.containers[] | .name + " " + .state'
    kurma exec shop-web hostname
    kurma pod list -q --filter label=app=shop | xargs kurma pod stop >/dev/null
    kurma pod show shop --format '{{.state}}'
    kurma pod prune | cmp - id
    `,
    "shop-web CONTAINER_STATE_RUNNING\nshop-db CONTAINER_STATE_RUNNING\nshop\nCONTAINER_STATE_STOPPED\n",
  ],
  "data goes out and comes back": [
    `
    kurma create --name old -v data:/data "$IMAGE" true >/dev/null
    mkdir -p seed/deep; echo one >seed/a; echo two >seed/deep/b
    kurma cp seed/. old:/data
    kurma cp old:/data - | gzip >backup.tgz
    kurma rm old; kurma volume rm data
    kurma create --name new -v data:/data "$IMAGE" true >/dev/null
    gzip -dc backup.tgz | kurma cp - new:/
    kurma cp new:/data restored
    cat restored/a restored/deep/b
    kurma rm new; kurma volume rm data
    `,
    "old\ndata\none\ntwo\nnew\ndata\n",
  ],
  "what happened is asked for afterwards": [
    `
    begun=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    kurma create --start --name task "$IMAGE" sh -c 'exit 4' >/dev/null
    kurma wait task >/dev/null
    kurma events --since "$begun" --until 0s --filter name=task --filter event=exit -o json |
      jq -r '.name + " " + (.exit.code | tostring)'
    kurma list --all --filter status=exited --format '{{.name}} {{.exit.code}}'
    kurma prune --output json | jq '.ids | length'
    `,
    "task 4\ntask 4\n1\n",
  ],
  "a reader that stops reading is no error": [
    `
    for number in 1 2 3; do kurma volume create volume-$number; done | tail -n 1
    kurma volume list | head -n 1 | cut -c 1-4
    kurma volume list -q | xargs kurma volume rm | wc -l
    `,
    "volume-3\nNAME\n3\n",
  ],
  "names that are none are refused before anything is done": [
    `
    kurma create --name 'a b' "$IMAGE" true 2>/dev/null || echo $?
    kurma volume create ../up 2>/dev/null || echo $?
    kurma pod create --name -x --app a="$IMAGE" 2>/dev/null || echo $?
    kurma list -aq | wc -l
    `,
    "2\n2\n2\n0\n",
  ],
};

test("scripts that provision a host", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const line = new Line(kurmad);
  for (const [name, [script, stdout, status = 0]] of Object.entries(stories)) {
    const output = await line.script(script, { limitMs: 120_000 });
    assertEquals(output, { status, stdout, stderr: "" }, name);
  }
  await kurmad.quit();
});
