/**
 * Reading what the kernel tells in files that come and go.
 *
 * @module
 */

/** The text of a file; empty if it is not there, or not for us. */
export function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (isOut(error)) return "";
    throw error;
  }
}

/** The names in a folder, sorted; none if it is not there, or not for us. */
export function children(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  } catch (error) {
    if (isOut(error)) return [];
    throw error;
  }
}

/** The paths of files called `name` in `folder` and in the folders below it. */
export function filesBelow(folder: string, name: string): string[] {
  const found = [`${folder}/${name}`];
  try {
    for (const entry of Deno.readDirSync(folder)) {
      if (entry.isDirectory) found.push(...filesBelow(`${folder}/${entry.name}`, name));
    }
  } catch (error) {
    if (!isOut(error)) throw error;
  }
  return found;
}

/** A number that a file holds; undefined if it holds none. */
export function numberOf(path: string): number | undefined {
  const text = textOf(path).trim();
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** The path of the program that a process runs; empty if it is gone, or not ours to know. */
export function programOf(pid: number): string {
  try {
    return Deno.readLinkSync(`/proc/${pid}/exe`);
  } catch (error) {
    if (isOut(error)) return "";
    throw error;
  }
}

/** Whether a program, by its path as {@linkcode programOf} tells it, is Kurma of any build. */
export function isKurma(program: string): boolean {
  return program.slice(program.lastIndexOf("/")).includes("kurma");
}

/** A mount. proc_pid_mountinfo(5) */
export interface Mount {
  readonly point: string;
  readonly type: string;
}

/** The mounts of a mountinfo. */
export function mountsOf(mountinfo: string): Mount[] {
  return mountinfo.split("\n").filter((line) => line !== "").map((line) => {
    const [own, fileSystem = ""] = line.split(" - ");
    const point = own.split(" ")[4].replace(
      /\\([0-7]{3})/g,
      (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)),
    );
    return { point, type: fileSystem.split(" ")[0] };
  });
}

/** The mount that `path`, absolute and normal, is on: of the longest fitting, the last. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  return mounts.reduce<Mount | undefined>((best, mount) => {
    const fits = mount.point === path || isBelow(path, mount.point);
    return fits && mount.point.length >= (best?.point.length ?? 0) ? mount : best;
  }, undefined);
}

/** Whether `path` is in `folder`, at any depth. */
export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder === "/" ? "/" : `${folder}/`) && path !== folder;
}

/** Gone, or kept from us: both are no answer. ESRCH and ENODEV: the process or device went. */
function isOut(error: unknown): boolean {
  if (
    error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied ||
    error instanceof Deno.errors.NotADirectory
  ) {
    return true;
  }
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ESRCH" || code === "ENODEV" || code === "EINVAL" || code === "EOPNOTSUPP";
}
