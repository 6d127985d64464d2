/**
 * Finds an appc image by its name: the domain in the name serves pages whose
 * `ac-discovery` meta tags say where images are.
 *
 * @module
 * @see appc spec 0.8, "App Container Image Discovery"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "./digest.ts";
import type { AppcReference } from "./reference.ts";
import { PeerError } from "./timing.ts";
import type { Transport } from "./transport.ts";

/** Where an image may be, and its signature. */
export interface DiscoveredImage {
  readonly aci: string;
  readonly signature: string;
}

export interface DiscoveryOptions {
  /** For labels the reference leaves open; `version` defaults to `latest`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Ask without TLS where TLS does not work. */
  readonly insecure?: boolean;
  readonly signal?: AbortSignal;
}

const limits = { pageBytes: 1024 * 1024, tags: 64, prefixes: 8 } as const;

/**
 * Asks for the name, then for each shorter prefix of it, until a page has templates for
 * the name.
 *
 * @returns Places to try, in the page's order, none twice.
 * @throws {KurmaError} `missing`: no page says where the image is.
 */
export async function discover(
  transport: Transport,
  { name, labels }: AppcReference,
  options: DiscoveryOptions = {},
): Promise<DiscoveredImage[]> {
  const all = { version: "latest", ...options.labels, ...labels };
  const parts = name.split("/");
  const tried: string[] = [];
  for (let count = Math.min(parts.length, limits.prefixes); count > 0; count--) {
    const prefix = parts.slice(0, count).join("/");
    for (const scheme of options.insecure ? ["https", "http"] : ["https"]) {
      const page = await fetchPage(transport, `${scheme}://${prefix}?ac-discovery=1`, options);
      if (typeof page !== "string") {
        tried.push(page.message);
        continue;
      }
      const images = parsePage(page, name, all);
      if (images.length > 0) return images;
      tried.push(`${scheme}://${prefix} has no template for it`);
      break; // It answered; without TLS it would say nothing better.
    }
  }
  throw new KurmaError("missing", `Cannot find ${quote(name)} by discovery: ${tried[0]}`, {
    cause: new AggregateError(tried.map((why) => new Error(why))),
    fix: "Check the name, or give the image's URL",
  });
}

async function fetchPage(
  transport: Transport,
  url: string,
  { insecure, signal }: DiscoveryOptions,
): Promise<string | Error> {
  const task = `discover ${quote(url)}`;
  const parsed = URL.parse(url);
  if (parsed === null || parsed.username !== "") return new Error(`Cannot ${task}: it is no URL`);
  try {
    const ask = { task, url: parsed, allowPlainHttp: insecure, signal };
    const { status, bytes } = await transport.document(ask, limits.pageBytes, 2);
    if (status !== 200) return new Error(`Cannot ${task}: ${parsed.host} answered ${status}`);
    return new TextDecoder().decode(bytes);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PeerError || error instanceof KurmaError) return error;
    throw error;
  }
}

/**
 * The places that a page's meta tags give for `name`: https and http URLs only, and only
 * where every label of the template is known.
 */
export function parsePage(
  html: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): DiscoveredImage[] {
  const images = new Map<string, DiscoveredImage>();
  for (const content of metaTags(html, "ac-discovery")) {
    const [prefix, template, ...rest] = content.trim().split(/\s+/);
    if (!template || rest.length > 0) continue;
    if (name !== prefix && !name.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`)) continue;
    const aci = fill(template, { ...labels, name, ext: "aci" });
    const signature = fill(template, { ...labels, name, ext: "aci.asc" });
    if (aci && signature) images.set(aci, { aci, signature });
  }
  return [...images.values()];
}

/** The template with each `{label}` replaced, as a URL; undefined if one is not known. */
function fill(template: string, values: Readonly<Record<string, string>>): string | undefined {
  if (template.length > 2048) return undefined;
  let known = true;
  const text = template.replace(/\{([a-z0-9._~/-]+)\}/g, (_, label: string) => {
    // A label is data: it may not climb out of its place in the URL.
    const parts = Object.hasOwn(values, label) ? values[label].split("/") : [".."];
    known &&= !parts.some((part) => part === "." || part === "..");
    return parts.map(encodeURIComponent).join("/");
  });
  const url = known ? URL.parse(text) : null;
  if (url === null || url.username !== "" || !/^https?:$/.test(url.protocol)) return undefined;
  return url.href;
}

/** The contents of the page's `<meta name="…" content="…">` tags, scripts and comments left out. */
function metaTags(html: string, name: string): string[] {
  const contents: string[] = [];
  const page = withoutSpans(withoutSpans(html, "<!--", "-->"), "<script", "</script>");
  for (let at = 0; contents.length < limits.tags;) {
    const open = page.indexOf("<", at);
    if (open < 0) break;
    const close = page.indexOf(">", open);
    if (close < 0) break;
    at = close + 1;
    const tag = page.slice(open, Math.min(close, open + 4096));
    if (!/^<meta[\s/]/i.test(tag)) continue;
    const attributes = new Map<string, string>();
    for (const match of tag.matchAll(/([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/gi)) {
      attributes.set(match[1].toLowerCase(), match[2] ?? match[3]);
    }
    const content = attributes.get("content");
    if (attributes.get("name")?.toLowerCase() === name && content !== undefined) {
      contents.push(content.replaceAll("&amp;", "&"));
    }
  }
  return contents;
}

function withoutSpans(text: string, start: string, end: string): string {
  const lower = text.toLowerCase();
  let rest = "";
  for (let at = 0;;) {
    const from = lower.indexOf(start, at);
    if (from < 0) return rest + text.slice(at);
    rest += text.slice(at, from);
    const to = lower.indexOf(end, from + start.length);
    if (to < 0) return rest;
    at = to + end.length;
  }
}
