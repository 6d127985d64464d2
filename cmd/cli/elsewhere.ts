/**
 * Words that people type by habit and that call nothing here.
 *
 * @module
 */

const made = "Images are made elsewhere, as with buildah; kurma image import brings them in";
const passwords = "Log in with podman login or docker login, whose passwords are used here too";
const pods = "Several containers that belong together are a pod: kurma pod create FILE";

/** What to say to words that do something in docker and podman, and not here. */
export const elsewhere: Readonly<Record<string, string>> = {
  build: made,
  buildx: made,
  commit: "Images are made elsewhere; kurma cp CONTAINER:PATH - takes files out as a tar archive",
  diff: "kurma cp CONTAINER:PATH - takes files out as a tar archive, to be compared",
  load: "Write kurma image import FILE, or - for standard input",
  import: "Write kurma image import FILE, or - for standard input",
  save: "Write kurma image export IMAGE FILE",
  export: "Write kurma image export IMAGE FILE, or kurma cp CONTAINER:/ - for its files",
  history: "kurma image show has what is known of an image",
  search: "Look for it on the registry's own page, then kurma image pull NAME",
  login: passwords,
  logout: passwords,
  network: "A container has a loopback of its own, or what --network of kurma create names",
  port: "No port is forwarded in this version; kurma create --network host has the host's",
  compose: pods,
  stack: pods,
  service: pods,
  swarm: pods,
  play: pods,
  kube: pods,
  generate: "kurma show and kurma pod show tell what there is as JSON or YAML",
  system: "Write kurma status, kurma events, or prune: kurma prune, kurma pod prune and so on",
  checkpoint: "Containers cannot be written down while they run; kurma pause halts one",
  secret: "Mount a file of the host: kurma create --volume /PATH:/PATH:ro",
  upload: "Write kurma image import FILE",
};
